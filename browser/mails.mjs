// Every mail in its HTML, as a mail program shows it.
import { invitationTo } from "./lifecycles.mjs";
import { narrow, shoot, violations } from "./pages.mjs";
import { addPerson, linkIn, mailsTo, newPerson, signIn, submit, want } from "./visitors.mjs";

// mails has every kind of mail sent that people cause in a browser, and holds each to
// what pages are held to.
export async function mails(visitors) {
  const { world } = visitors;
  const { main } = world;
  const person = await addPerson(main, { name: "Ada <Lovelace>" });
  const [unknown, moved, invited] = [newPerson(), newPerson(), newPerson()];
  const page = await visitors.come(main);
  const signUp = async ({ name, email, password }) => {
    await page.goto("/sign-up");
    await submit(page, { name, email, password }, "Create account");
  };
  // Each mail is awaited before the next step, which may make it pointless: a new
  // password ends the link to another one.
  await signUp(unknown);
  await signUp(person);
  await mailsTo(world, person.email, 0);
  await page.goto("/forgot");
  await submit(page, { email: person.email });
  await mailsTo(world, person.email, 1);
  await signIn(page, person);
  await signIn(await visitors.come(main), person); // from a device that nobody knows
  await mailsTo(world, person.email, 2);
  await submit(page, { email: moved.email, password: person.password });
  await mailsTo(world, person.email, 3);
  const chosen = "a new and longer password";
  await submit(page, { current_password: person.password, new_password: chosen });
  await page.getByRole("status").first().waitFor();
  await invitationTo(visitors, invited);
  const letters = [
    ...await mailsTo(world, unknown.email), ...await mailsTo(world, person.email, 4), ...await mailsTo(world, moved.email), ...await mailsTo(world, invited.email),
  ];
  const subjects = new Set(letters.map((letter) => letter.subject));
  want(subjects.size >= 8, `only these mails came: ${[...subjects].join(" | ")}`);
  want(linkIn(letters[0], "/verify"), "the first has no link");
  const found = [];
  const reader = await visitors.come(main);
  for (const letter of letters) {
    const note = (text) => found.push(`${letter.subject}: ${text}`);
    if (/<[a-z]|&[a-z]+;/i.test(letter.text.replaceAll(person.name, ""))) note("there is markup in the text");
    if (/(src|background)=|@import|url\(/i.test(letter.html)) note("it loads something");
    await reader.setContent(letter.html);
    for (const colorScheme of ["light", "dark"]) {
      await reader.emulateMedia({ colorScheme });
      for (const width of [390, 1280]) {
        await reader.setViewportSize({ width, height: 900 });
        await narrow(reader, `at ${width}`, note);
        await shoot(world.shots, reader, `mail-${letter.subject.toLowerCase().replace(/[^a-z]+/g, "-")}-${width}-${colorScheme}`);
      }
      // A mail is a part of its program's page, which has the landmarks.
      for (const violation of await violations(reader, "landmark-one-main", "region")) note(`${colorScheme}: ${violation}`);
    }
  }
  want(found.length === 0, found.join("\n"));
}
