// What people do with an account from its first day to its last. Each is done with
// scripts and without (options.javaScriptEnabled).
import { readFile } from "node:fs/promises";
import { addPerson, codeIn, expectURL, formWith, isSession, linkIn, mailsTo, newPerson, openAll, refused, signIn, submit, want } from "./visitors.mjs";

async function begin(page, person) {
  await page.goto("/sign-up");
  await submit(page, { name: person.name, email: person.email, password: person.password }, "Create account");
  await formWith(page, "code").waitFor();
}

// A person signs up and opens the link of the mail in the same browser.
export async function signUpByLink(visitors, options) {
  const { main } = visitors.world;
  const person = newPerson();
  const page = await visitors.come(main, options);
  await begin(page, person);
  const [letter] = await mailsTo(visitors.world, person.email);
  await page.goto(linkIn(letter, "/verify"));
  await page.goto(linkIn(letter, "/verify")); // looking spends nothing
  await page.locator("main form button").click();
  await expectURL(page, "/account");
  want((await page.locator("main").innerText()).includes(person.email), "the account does not show the address");
  await page.goto(linkIn(letter, "/verify"));
  const again = page.locator("main form button");
  if (await again.count()) await again.first().click();
  await page.getByText(/no longer good|used|ask for a new/i).first().waitFor();
}

// A person types the code instead, after a wrong one.
export async function signUpByCode(visitors, options) {
  const { main } = visitors.world;
  const person = newPerson();
  const page = await visitors.come(main, options);
  await begin(page, person);
  const code = codeIn((await mailsTo(visitors.world, person.email))[0]);
  await submit(page, { code: code === "000000" ? "000001" : "000000" });
  await refused(page);
  await submit(page, { code });
  await expectURL(page, "/account");
}

// Who opens the link in another browser than the one that signed up chooses the
// password there, and the one that was typed before is worth nothing (V-91).
export async function signUpElsewhere(visitors, options) {
  const { main } = visitors.world;
  const person = newPerson();
  const first = await visitors.come(main, options);
  await begin(first, person);
  const [letter] = await mailsTo(visitors.world, person.email);
  const page = await visitors.come(main, options);
  await page.goto(linkIn(letter, "/verify"));
  if (await page.locator("main [name=password]").count() === 0) await page.locator("main form button").click();
  const chosen = "quite another long password";
  await submit(page, { password: chosen });
  await expectURL(page, "/sign-in");
  await submit(page, { email: person.email, password: person.password }, "Sign in");
  await refused(page);
  await submit(page, { email: person.email, password: chosen }, "Sign in");
  await expectURL(page, "/account");
}

// Who signs up with an address that has an account sees what everybody sees, and
// the owner of the address is told.
export async function signUpTwice(visitors, options) {
  const { main } = visitors.world;
  const person = await addPerson(main);
  const page = await visitors.come(main, options);
  await begin(page, { ...person, password: "some other password" });
  const [letter] = await mailsTo(visitors.world, person.email);
  want(!letter.text.includes("/verify?"), "the mail makes an account that there is already");
}

// addAccount signs somebody in beside whoever is signed in there.
export async function addAccount(page, person) {
  await page.goto("/sign-in?prompt=login");
  await submit(page, { email: person.email, password: person.password }, "Sign in");
  await expectURL(page, "/account");
}

// Two people share a browser: each is in use when chosen, a tab that shows one does
// nothing to the other, and one signs out without the other.
export async function twoAccounts(visitors, options) {
  const { main } = visitors.world;
  const ada = await addPerson(main, { name: "Ada Lovelace" });
  const bob = await addPerson(main, { name: "Bob Marley" });
  const page = await visitors.come(main, options);
  await signIn(page, ada);
  await page.getByRole("link", { name: "Switch account" }).click();
  await expectURL(page, "/accounts");
  await page.getByRole("link", { name: "Use another account" }).click();
  await expectURL(page, "/sign-in");
  await submit(page, { email: bob.email, password: bob.password }, "Sign in");
  await expectURL(page, "/account");
  const tab = await page.context().newPage(); // it shows Bob
  await tab.goto("/account");
  const left = await page.context().newPage(); // and so does this
  await left.goto("/account");
  want((await tab.locator("main").innerText()).includes(bob.email), "the one who signed in is not in use");
  await page.goto("/accounts?return_to=/account");
  await page.getByRole("button", { name: "Ada Lovelace" }).click();
  await expectURL(page, "/account");
  want((await page.locator("main").innerText()).includes(ada.email), "the one who was chosen is not in use");
  await submit(tab, { name: "Nobody" }, "Save name");
  await tab.getByText("Nothing has changed").waitFor();
  await page.goto("/account");
  want(!(await page.locator("main").innerText()).includes("Nobody"), "a tab that shows one account has changed another");
  await left.getByRole("button", { name: "Sign out", exact: true }).click();
  await expectURL(left, "/accounts");
  want(!(await left.locator("main").innerText()).includes(bob.email), "the one who signed out is still here");
  await addAccount(page, bob);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await expectURL(page, "/signed-out");
  await page.getByText(ada.email).waitFor();
  await page.goto("/account");
  await expectURL(page, "/accounts");
  await page.getByRole("button", { name: "Ada Lovelace" }).click();
  await expectURL(page, "/account");
  await addAccount(page, bob);
  await page.goto("/accounts");
  await page.getByRole("button", { name: "Sign out of all accounts" }).click();
  await expectURL(page, "/signed-out");
  await page.goto("/account");
  await expectURL(page, "/sign-in");
  want((await page.context().cookies()).every((cookie) => !isSession(cookie) && !cookie.name.endsWith("_accounts")), "the browser keeps somebody");
}

// One person on two devices sees both, ends the other one, and its next click lands
// on the sign-in page.
export async function twoDevices(visitors, options) {
  const { main } = visitors.world;
  const person = await addPerson(main);
  const phone = await visitors.come(main, {
    ...options,
    userAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
  });
  const desk = await visitors.come(main, options);
  await signIn(phone, person);
  await signIn(desk, person);
  const devices = desk.locator("#sessions li");
  want(await devices.count() === 2, `${await devices.count()} devices are shown`);
  const here = devices.filter({ hasText: "This device" });
  want(await here.count() === 1 && !(await here.innerText()).includes("iPhone"), "the wrong one is this device");
  await devices.filter({ hasText: /iPhone|iOS/ }).getByRole("button", { name: "End session" }).click();
  await desk.getByRole("status").waitFor();
  want(await devices.count() === 1, "the ended device is still shown");
  await submit(phone, { name: "Nobody" });
  await expectURL(phone, "/sign-in");
  await signIn(phone, person);
  await desk.goto("/account");
  await desk.getByRole("button", { name: "End all other sessions", exact: true }).click();
  await desk.getByRole("status").waitFor();
  await phone.goto("/account");
  await expectURL(phone, "/sign-in");
  await desk.getByRole("button", { name: "Sign out", exact: true }).click();
  await expectURL(desk, "/signed-out");
  await desk.goto("/account");
  await expectURL(desk, "/sign-in");
}

// The cookie goes with the browser's window, unless the person wants to stay.
export async function remember(visitors, options) {
  const { main } = visitors.world;
  const person = await addPerson(main);
  for (const stay of [false, true]) {
    const page = await visitors.come(main, options);
    await page.goto("/account");
    await expectURL(page, "/sign-in");
    await submit(page, { email: person.email, password: person.password, remember: stay }, "Sign in");
    await expectURL(page, "/account");
    const { expires } = (await page.context().cookies()).find(isSession);
    want(stay ? expires > Date.now() / 1000 + 86400 : expires === -1, `remember is ${stay}, and the cookie goes at ${expires}`);
  }
}

// A change of the password needs the current one and ends the other sessions.
export async function changePassword(visitors, options) {
  const { main } = visitors.world;
  const person = await addPerson(main);
  const other = await visitors.come(main, options);
  const page = await visitors.come(main, options);
  await signIn(other, person);
  await signIn(page, person);
  const before = (await mailsTo(visitors.world, person.email, -1)).length;
  const chosen = "a new and longer password";
  await submit(page, { current_password: "not this one", new_password: chosen });
  await refused(page);
  await submit(page, { current_password: person.password, new_password: chosen });
  await page.getByRole("status").waitFor();
  await other.goto("/account");
  await expectURL(other, "/sign-in");
  await signIn(other, person, chosen);
  const letters = await mailsTo(visitors.world, person.email, before);
  want(letters.every((letter) => !letter.text.includes(chosen)), "a mail tells the password");
}

// Who has forgotten the password gets a link, once. It ends all sessions and begins
// none (ASVS-6.4.3, V-87).
export async function resetPassword(visitors, options) {
  const { main, post } = visitors.world;
  const person = await addPerson(main);
  const old = await visitors.come(main, options);
  await signIn(old, person);
  const before = (await mailsTo(visitors.world, person.email, -1)).length;
  const page = await visitors.come(main, options);
  await page.goto("/sign-in");
  await page.locator('main a[href^="/forgot"]').click();
  await submit(page, { email: `nobody.${person.email}` });
  const toNobody = await page.locator("main").innerText();
  await page.goto("/forgot");
  await submit(page, { email: person.email });
  want((await page.locator("main").innerText()).replaceAll(person.email, "") === toNobody.replaceAll(`nobody.${person.email}`, ""), `${post}: the page tells who has an account`);
  const letters = (await mailsTo(visitors.world, person.email, before)).slice(before);
  const link = linkIn(letters.find((letter) => letter.text.includes("/reset?")), "/reset");
  await page.goto(link);
  await submit(page, { password: "short" });
  await refused(page);
  const chosen = "never forget this one again";
  await submit(page, { password: chosen });
  await expectURL(page, "/sign-in");
  want((await page.context().cookies()).every((cookie) => !isSession(cookie)), "the reset signed somebody in");
  await old.goto("/account");
  await expectURL(old, "/sign-in");
  await page.goto(link);
  if (await formWith(page, "password").filter({ hasNot: page.locator("[name=email]") }).count()) await submit(page, { password: "yet another long password" });
  await page.getByText(/no longer good|used|ask for a new/i).first().waitFor();
  await signIn(page, person, chosen);
}

// The new address is proven and the old one is told.
export async function changeEmail(visitors, options) {
  const { main } = visitors.world;
  const person = await addPerson(main);
  const { email } = newPerson();
  const page = await visitors.come(main, options);
  await signIn(page, person);
  await submit(page, { email, password: person.password });
  const [letter] = await mailsTo(visitors.world, email);
  await page.goto("/account");
  const before = await page.locator("main").innerText();
  want(before.includes(person.email) && !before.includes(email), "the address is changed before it is proven");
  await page.goto(linkIn(letter, "/verify"));
  await page.locator("main form button").click();
  await page.goto("/account");
  want((await page.locator("main").innerText()).includes(email), "the address is not changed");
  const told = await mailsTo(visitors.world, person.email);
  want(told.some((each) => each.text.includes(email) || /address|email/i.test(each.subject)), "the old address is not told");
}

// A person takes their data with them, and then deletes the account.
export async function exportAndDelete(visitors, options) {
  const { main } = visitors.world;
  const person = await addPerson(main);
  const page = await visitors.come(main, options);
  await signIn(page, person);
  const control = page.locator('a[href="/account/export"]');
  const [download] = await Promise.all([page.waitForEvent("download"), control.click()]);
  const data = JSON.parse(await readFile(await download.path(), "utf8"));
  want(data.user.email === person.email, `the download is ${JSON.stringify(data).slice(0, 200)}`);
  const form = page.locator('form[action="/account/delete"]');
  await openAll(page.locator("details:not([open])").filter({ has: form }));
  await form.locator("[name=password]").fill("not this one");
  await form.locator("button").click();
  await refused(page);
  await form.locator("[name=password]").fill(person.password);
  await form.locator("button").click();
  await page.waitForURL((url) => !url.pathname.startsWith("/account"));
  await page.goto("/sign-in");
  await submit(page, { email: person.email, password: person.password }, "Sign in");
  await refused(page);
}

// Where only who is invited may sign up, the invitation proves the mailbox.
export async function signUpByInvitation(visitors, options) {
  const { invite } = visitors.world;
  const page = await visitors.come(invite, options);
  await page.goto("/sign-up");
  want(await page.locator("[name=password]").count() === 0, "anybody may sign up");
  const person = newPerson();
  const link = await invitationTo(visitors, person);
  await page.goto(link);
  want((await page.locator("main").innerHTML()).includes(person.email), "the page does not say who is invited");
  await submit(page, { name: person.name, password: person.password }, "Create account");
  await expectURL(page, "/account");
  const another = await visitors.come(invite, options);
  await another.goto(link);
  await another.getByText(/no longer good|used|ask for a new/i).first().waitFor();
}

// invitationTo returns the link of an invitation.
export async function invitationTo({ world }, person) {
  const answer = await fetch(`${world.invite.url}/v1/admin/invitations`, {
    method: "POST",
    headers: { authorization: `Bearer ${world.invite.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ email: person.email }),
  });
  want(answer.status === 202, `invite: ${answer.status} ${await answer.text()}`);
  const letters = await mailsTo(world, person.email);
  return linkIn(letters.at(-1), "/sign-up");
}
