// People with browsers of their own, who notice everything that no page of ours may
// do: run a script, open a dialog, break the page's policy, ask somebody else for
// something, or leave an error in the console.

import process from "node:process";

// patience is how long anything may take. The machine may be slow; no test waits
// for it to pass.
const patience = 20_000;

export class Visitors {
  #browser;
  #contexts = [];
  #complaints = [];

  constructor(browser, world) {
    this.#browser = browser;
    this.world = world;
  }

  // come returns a page of a new visitor: a context without any cookie. Options are
  // Playwright's; with strangers: true it may leave our origins.
  async come(server, { strangers = false, ...options } = {}) {
    const context = await this.#browser.newContext({
      baseURL: server.url, viewport: { width: 1280, height: 900 }, locale: "en-GB",
      extraHTTPHeaders: { "x-forwarded-for": newAddress() },
      reducedMotion: "reduce", // what is on its way to another place or colour is looked at when it is there
      ...options,
    });
    this.#contexts.push(context);
    context.setDefaultTimeout(patience);
    await context.exposeBinding("violated", (_, report) => this.#complain(`policy: ${report}`));
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (e) => {
        globalThis.violated(`${e.violatedDirective} by ${e.blockedURI} ${e.sample} on ${location}`);
      });
    });
    this.#watch(context, strangers);
    return context.newPage();
  }

  #watch(context, strangers) {
    context.on("dialog", async (dialog) => {
      this.#complain(`dialog: ${dialog.message()} on ${dialog.page()?.url()}`);
      await dialog.dismiss();
    });
    context.on("weberror", (error) => this.#complain(`script: ${error.error()}`));
    if (strangers) return;
    const ours = Object.values(this.world).map((place) => place?.url).filter(Boolean);
    context.on("request", (request) => {
      if (!ours.some((url) => request.url().startsWith(url + "/"))) this.#complain(`somebody else is asked: ${request.url()}`);
    });
    const refused = new Set(); // pages that are errors on purpose: Chromium notes their status
    context.on("response", (response) => {
      if (response.request().isNavigationRequest() && response.status() >= 400) refused.add(response.url());
    });
    context.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      const status = message.text().startsWith("Failed to load resource: the server responded with a status of");
      if (status && refused.has(message.location().url)) return;
      this.#complain(`console: ${message.text()} at ${message.location().url}`);
    });
  }

  #complain(text) {
    this.#complaints.push(text);
  }

  // whereabouts says what each visitor sees, for whoever reads a failure.
  async whereabouts() {
    const seen = [];
    for (const page of this.#contexts.flatMap((context) => context.pages())) {
      const text = await page.locator("main").innerText({ timeout: 1000 }).catch(() => "(nothing)");
      seen.push(`-- ${page.url()}\n${text.replace(/\s+/g, " ").slice(0, 700)}`);
    }
    return seen.join("\n");
  }

  // leave ends all visits and returns what was noticed.
  async leave() {
    await Promise.all(this.#contexts.map((context) => context.close()));
    return this.#complaints;
  }
}

let count = 0;

// newAddress returns a network address that nobody else comes from: who asks often
// from one is made to wait.
const newAddress = () => {
  count += 1;
  return `10.1.${count >> 8}.${count & 255}`;
};

// newPerson returns somebody whom no server knows.
export function newPerson(name = "Ada") {
  count += 1;
  return { name, email: `person${count}.${process.pid}@example.com`, password: `glove bookcase ${count} thunder` };
}

// addPerson returns somebody who has a verified account on a server.
export async function addPerson(server, more = {}) {
  const person = { ...newPerson(), ...more };
  const answer = await fetch(`${server.url}/v1/admin/users`, {
    method: "POST",
    headers: { authorization: `Bearer ${server.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ email: person.email, name: person.name, password: person.password, email_verified: true }),
  });
  if (answer.status !== 201) throw new Error(`add a person: ${answer.status} ${await answer.text()}`);
  return person;
}

// formWith returns the form of a page that has all the named fields.
export function formWith(page, ...names) {
  return names.reduce((forms, name) => forms.filter({ has: page.locator(`[name="${name}"]`) }), page.locator("form"));
}

// submit types into the one form that has these fields and presses its button, or
// the one with that name.
export async function submit(page, values, button) {
  const form = formWith(page, ...Object.keys(values));
  await openAll(page.locator("details:not([open])").filter({ has: form }));
  for (const [name, value] of Object.entries(values)) {
    const field = form.locator(`[name="${name}"]`);
    if (typeof value === "boolean") await field.setChecked(value);
    else await field.fill(value);
  }
  const press = button ? form.getByRole("button", { name: button, exact: true }) : form.locator("button");
  await press.click();
}

// openAll opens what is folded, the outer ones first.
export async function openAll(folded) {
  while (await folded.count()) await folded.first().locator("summary").first().click();
}

// signIn signs in on the sign-in page and arrives at the account.
export async function signIn(page, person, password = person.password) {
  await page.goto("/sign-in");
  await submit(page, { email: person.email, password }, "Sign in");
  await page.waitForURL("**/account*");
}

// refused waits until the page says what is wrong, in its title, too.
export async function refused(page) {
  await page.locator("main .wrong").first().waitFor();
  want(/^(Error|Fehler)/.test(await page.title()), `the title of a refused form is "${await page.title()}"`);
}

// isSession says whether a cookie is the one that somebody is signed in by.
export const isSession = ({ name }) => ["__Host-coatcheck", "coatcheck_dev"].includes(name);

// expectURL waits until the page's path is this.
export async function expectURL(page, path) {
  await page.waitForURL((url) => url.pathname === path);
}

// mailsTo waits until more than after letters to an address have come and returns
// them all.
export async function mailsTo(world, email, after = 0) {
  const answer = await fetch(`${world.post}/?${new URLSearchParams({ to: email, after })}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// linkIn returns the link of a letter to a page. Text and HTML have the same one.
export function linkIn(letter, path) {
  const links = [letter.text, letter.html].map((text) =>
    text.replaceAll("&amp;", "&").replaceAll("&#43;", "+").match(new RegExp(`http[^\\s"<>]*${path}\\?[^\\s"<>]*`))?.[0]);
  if (!links[0] || links[0] !== links[1]) throw new Error(`the links to ${path} are ${links} in: ${letter.text}`);
  return links[0];
}

// codeIn returns the six digits of a letter.
export function codeIn(letter) {
  const code = letter.text.match(/(?<!\d)\d{6}(?!\d)|(?<!\d)\d{3} \d{3}(?!\d)/)?.[0].replace(" ", "");
  if (!code) throw new Error(`no code in: ${letter.text}`);
  return code;
}

// want throws unless it is so.
export function want(so, what) {
  if (!so) throw new Error(what);
}
