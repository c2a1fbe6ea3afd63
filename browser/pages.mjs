// Every page there is, in every state that looks another way, and what each is held
// to: axe, both widths, both colours, zoom, weight and what it loads.
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { addApplication, asked, authorize } from "./consent.mjs";
import { connected } from "./applications.mjs";
import { addAccount, invitationTo } from "./lifecycles.mjs";
import { logout } from "./logout.mjs";
import { addPerson, codeIn, formWith, linkIn, mailsTo, newPerson, openAll, refused, signIn, submit, want } from "./visitors.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// A page is under this in all: document, stylesheet and icon, as transferred.
const maxBytes = 60 * 1024;

// states are by name: each brings a fresh page into it. The options are the page's
// server and how its visitor comes.
const states = {
  "sign-in": [{}, (page) => page.goto("/sign-in")],
  "sign-in-wrong": [{}, async (page) => {
    await page.goto("/sign-in");
    await submit(page, { email: "ada@example.com", password: "not this one" }, "Sign in");
    await refused(page);
  }],
  "sign-up": [{}, (page) => page.goto("/sign-up")],
  "sign-up-wrong": [{}, async (page) => {
    await page.goto("/sign-up");
    await submit(page, { email: "no address", password: "short" }, "Create account");
    await refused(page);
  }],
  "sign-up-sent": [{}, (page) => begin(page, newPerson())],
  "sign-up-code-wrong": [{}, async (page) => {
    await begin(page, newPerson());
    await submit(page, { code: "12345x" });
    await refused(page);
  }],
  "verify": [{}, async (page, visitors) => {
    const person = newPerson();
    await begin(page, person);
    await page.goto(linkIn((await mailsTo(visitors.world, person.email))[0], "/verify"));
  }],
  "verify-elsewhere": [{}, async (page, visitors) => {
    const person = newPerson();
    await begin(page, person);
    await page.context().clearCookies();
    await page.goto(linkIn((await mailsTo(visitors.world, person.email))[0], "/verify"));
    if (await page.locator("main [name=password]").count() === 0) await page.locator("main form button").click();
    await page.locator("main [name=password]").waitFor();
  }],
  "verify-code": [{}, (page) => page.goto("/verify")],
  "verify-code-elsewhere": [{}, async (page, visitors) => {
    const person = newPerson();
    await begin(page, person);
    await page.context().clearCookies();
    await page.goto("/verify");
    await submit(page, { email: person.email, code: codeIn((await mailsTo(visitors.world, person.email))[0]) });
    await page.locator("main [name=password]").waitFor();
  }],
  "verify-over": [{}, async (page) => {
    await page.goto("/verify?token=ckl_over");
    const button = page.locator("main form button");
    if (await button.count()) await button.first().click();
  }],
  "forgot": [{}, (page) => page.goto("/forgot")],
  "forgot-sent": [{}, async (page) => {
    await page.goto("/forgot");
    await submit(page, { email: "ada@example.com" });
  }],
  "reset": [{}, async (page, visitors) => page.goto(await resetLink(page, visitors))],
  "reset-wrong": [{}, async (page, visitors) => {
    await page.goto(await resetLink(page, visitors));
    await submit(page, { password: "short" });
    await refused(page);
  }],
  "reset-done": [{}, async (page, visitors) => {
    await page.goto(await resetLink(page, visitors));
    await submit(page, { password: "never forget this one again" });
    await page.waitForURL("**/sign-in*");
  }],
  "account": [{}, async (page, visitors) => {
    const person = await addPerson(visitors.world.main, { name: "Ada Lovelace" });
    const phone = await visitors.come(visitors.world.main, {
      userAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    });
    await signIn(phone, person);
    await signIn(page, person);
  }],
  "account-long-words": [{}, async (page, visitors) => {
    const person = await addPerson(visitors.world.main, { name: "Wolfeschlegelsteinhausenbergerdorff".repeat(3) });
    await signIn(page, { ...person, email: person.email });
    await page.goto("/account?done=name");
  }],
  "account-unfolded": [{}, async (page, visitors) => {
    const person = await addPerson(visitors.world.main);
    await signIn(page, person);
    await openAll(page.locator("details:not([open])"));
  }],
  "account-wrong": [{}, async (page, visitors) => {
    await signIn(page, await addPerson(visitors.world.main));
    await submit(page, { current_password: "not this one", new_password: "short" });
    await refused(page);
  }],
  "account-email-sent": [{}, async (page, visitors) => {
    const person = await addPerson(visitors.world.main);
    await signIn(page, person);
    await submit(page, { email: newPerson().email, password: person.password });
    await page.getByRole("status").first().waitFor();
  }],
  "account-unverified": [{ server: "plain" }, async (page) => {
    const person = newPerson();
    await page.goto("/sign-up");
    await submit(page, { name: person.name, email: person.email, password: person.password }, "Create account");
    await page.waitForURL("**/account*");
  }],
  "account-delete": [{}, async (page, visitors) => {
    await signIn(page, await addPerson(visitors.world.main));
    const form = page.locator('form[action="/account/delete"]');
    await openAll(page.locator("details:not([open])").filter({ has: form }));
    await form.locator("[name=password]").fill("not this one");
    await form.locator("button").click();
    await refused(page);
  }],
  "account-applications": [{}, async (page, visitors) => {
    await connected(page, visitors);
    await openAll(page.locator("#applications details:not([open])"));
  }],
  "account-disconnected": [{}, async (page, visitors) => {
    await connected(page, visitors);
    await page.getByRole("button", { name: "Disconnect" }).first().click();
    await page.getByRole("status").waitFor();
  }],
  "accounts-for": [{}, async (page, visitors) => {
    const client = await addApplication(visitors.world.main);
    await several(page, visitors, 2);
    await page.goto(authorize(visitors.world.main, client, { prompt: "select_account" }));
    await page.getByText("to continue to Shop").waitFor();
  }],
  "accounts": [{}, (page, visitors) => several(page, visitors, 3)],
  "accounts-one": [{}, async (page, visitors) => {
    await signIn(page, await addPerson(visitors.world.main));
    await page.goto("/accounts");
  }],
  "accounts-over": [{}, async (page, visitors) => {
    await several(page, visitors, 2);
    await page.goto("/accounts?done=over");
  }],
  "accounts-long-words": [{}, async (page, visitors) => {
    await signIn(page, await addPerson(visitors.world.main, { name: "Wolfeschlegelsteinhausenbergerdorff".repeat(3) }));
    await page.goto("/accounts");
  }],
  "accounts-add": [{}, async (page, visitors) => {
    await signIn(page, await addPerson(visitors.world.main));
    await page.goto("/accounts?return_to=/account");
    await page.getByRole("link", { name: "Use another account" }).click();
    await page.locator("[name=prompt]").waitFor({ state: "attached" });
  }],
  "account-changed": [{}, async (page, visitors) => {
    await signIn(page, await addPerson(visitors.world.main));
    await page.evaluate(() => { document.querySelector('form[action="/account/name"] [name=account]').value = "usr_another"; });
    await submit(page, { name: "Nobody" });
    await page.waitForURL("**/account/name");
  }],
  "signed-out-of-one": [{}, async (page, visitors) => {
    await several(page, visitors, 3);
    await page.goto("/account");
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.waitForURL("**/signed-out");
  }],
  "sign-in-for": [{}, async (page, visitors) => page.goto(authorize(visitors.world.main, await addApplication(visitors.world.main)))],
  "consent": [{}, (page, visitors) => asked(page, visitors, { policy_uri: "https://shop.example/privacy", tos_uri: "https://shop.example/terms" }, { scope: "openid profile email" })],
  "consent-offline": [{}, (page, visitors) => asked(page, visitors, { scope: "openid offline_access orders:read", audiences: ["https://orders.example.com"] }, { scope: "openid offline_access orders:read", resource: "https://orders.example.com" })],
  "consent-device": [{}, (page, visitors) => asked(page, visitors, { type: "native", name: "Desk", redirect_uris: ["http://127.0.0.1/callback"] }, { redirect_uri: "http://127.0.0.1:50000/callback" })],
  "consent-long-words": [{}, (page, visitors) => asked(page, visitors, { name: "Donaudampfschifffahrtsgesellschaft".repeat(2), scope: `openid ${"x".repeat(60)}` }, { scope: `openid ${"x".repeat(60)}` })],
  "form-post": [{}, async (page, visitors) => {
    const { main } = visitors.world;
    const client = await addApplication(main, { trusted: true });
    await page.route("**/oauth2/authorize*", async (route) => { // as it is where no script runs
      const response = await route.fetch();
      await route.fulfill({ response, body: (await response.text()).replace(/<script.*?<\/script>/s, "") });
    });
    await page.goto(authorize(main, client, { prompt: "none", response_mode: "form_post" }));
  }],
  "client-unknown": [{}, (page, visitors) => page.goto(authorize(visitors.world.main, "cli_00000000000000000000000000"))],
  "redirect-mismatch": [{}, async (page, visitors) => page.goto(authorize(visitors.world.main, await addApplication(visitors.world.main), { redirect_uri: "https://shop.example/callback/" }))],
  "request-malformed": [{}, (page) => page.goto("/oauth2/authorize?client_id=x&client_id=y")],
  "request-over": [{}, (page) => page.goto("/consent?continue=over")],
  "request-answered": [{}, async (page, visitors) => {
    await asked(page, visitors);
    const address = page.url();
    await page.getByRole("button", { name: "Allow", exact: true }).click();
    await page.waitForURL("**/callback*");
    await page.goto(address.replace("/consent", "/oauth2/authorize"));
  }],
  "logout": [{}, async (page, visitors) => {
    const { main } = visitors.world;
    await signIn(page, await addPerson(main, { name: "Ada Lovelace" }));
    await page.goto(logout(await addApplication(main)));
  }],
  "logout-long-words": [{}, async (page, visitors) => {
    const { main } = visitors.world;
    await signIn(page, await addPerson(main, { name: "Wolfeschlegelsteinhausenbergerdorff".repeat(3) }));
    await page.goto(logout(await addApplication(main, { name: "Donaudampfschifffahrtsgesellschaft".repeat(2) })));
  }],
  "logout-refused": [{}, (page) => page.goto("/oauth2/logout?id_token_hint=nonsense")],
  "verified": [{}, (page) => page.goto("/verified")],
  "verified-changed": [{}, (page) => page.goto("/verified?done=changed")],
  "signed-out": [{}, (page) => page.goto("/signed-out")],
  "deleted": [{}, (page) => page.goto("/signed-out?done=deleted")],
  "setup": [{ server: "plain" }, (page, visitors) => page.goto(visitors.world.plain.setup)],
  "branded-sign-in": [{ server: "invite" }, (page) => page.goto("/sign-in")],
  "branded-account": [{ server: "invite" }, async (page, visitors) => signIn(page, await addPerson(visitors.world.invite))],
  "invitation": [{ server: "invite" }, async (page, visitors) => page.goto(await invitationTo(visitors, newPerson()))],
  "invitation-needed": [{ server: "invite" }, (page) => page.goto("/sign-up")],
  "invitation-over": [{ server: "invite" }, (page) => page.goto("/sign-up?invitation=ckl_over")],
  "not-found": [{}, (page) => page.goto("/nowhere")],
  "cross-origin": [{}, async (page, visitors) => {
    await page.setContent(`<form method="post" action="${visitors.world.main.url}/sign-in"><button>Win a prize</button></form>`);
    await page.locator("button").click();
    await page.waitForURL("**/sign-in");
  }],
  "mails": [{ server: "plain" }, async (page) => {
    const person = newPerson();
    await page.goto("/sign-up");
    await submit(page, { name: person.name, email: person.email, password: person.password }, "Create account");
    await page.waitForURL("**/account*");
    await page.goto("/dev/mail");
  }],
  "api": [{ script: true }, async (page) => {
    await page.goto("/docs");
    await page.locator("main details, main section, main h2").first().waitFor();
  }],
};

// several has so many people sign in in one browser, and arrives where one chooses.
async function several(page, visitors, count) {
  for (const name of ["Ada Lovelace", "", "Grace Hopper"].slice(0, count)) await addAccount(page, await addPerson(visitors.world.main, { name }));
  await page.goto("/accounts");
}

async function begin(page, person) {
  await page.goto("/sign-up");
  await submit(page, { name: person.name, email: person.email, password: person.password }, "Create account");
  await formWith(page, "code").waitFor();
}

async function resetLink(page, visitors) {
  const person = await addPerson(visitors.world.main);
  await page.goto("/forgot");
  await submit(page, { email: person.email });
  return linkIn((await mailsTo(visitors.world, person.email))[0], "/reset");
}

const looks = ["light", "dark"].flatMap((colorScheme) => [390, 1280].map((width) => ({ colorScheme, width })));

// pageState brings up the page in that state and holds it to everything.
export async function pageState(visitors, name) {
  const [{ server = "main", script = false }, open] = states[name];
  const page = await visitors.come(visitors.world[server]);
  await open(page, visitors);
  const found = [];
  const note = (text) => found.push(text);
  for (const [i, { colorScheme, width }] of looks.entries()) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    const look = `${colorScheme} at ${width}`;
    // Light on a phone and dark on a desktop meet both colours and both arrangements.
    const asked = visitors.world.shots !== "" || i === 0 || i === 3;
    for (const violation of asked ? await violations(page) : []) note(`${look}: ${violation}`);
    await narrow(page, look, note);
    await shoot(visitors.world.shots, page, `${name}-${width}-${colorScheme}`);
  }
  await zoomed(page, note);
  await outline(page, script, note);
  await weigh(page, script, note);
  want(found.length === 0, `${page.url()}\n${found.join("\n")}`);
}

// pageGerman brings up the page in English, and holds the same address to its language
// for a browser that asks for German.
export async function pageGerman(visitors, name) {
  const [{ server = "main" }, open] = states[name];
  const page = await visitors.come(visitors.world[server]);
  await open(page, visitors);
  const storageState = await page.context().storageState();
  const other = await visitors.come(visitors.world[server], { locale: "de-DE", viewport: { width: 390, height: 900 }, storageState });
  await other.goto(page.url());
  const found = [];
  await inGerman(page, other, (text) => found.push(text));
  await shoot(visitors.world.shots, other, `${name}-390-german`);
  // And what it says to who presses the button without having typed anything.
  if (await page.locator(".gate form input:visible").count()) {
    for (const each of [page, other]) {
      await each.locator(".gate form button").first().click();
      await each.locator("main .wrong, main [role=status]").first().waitFor();
    }
    await inGerman(page, other, (text) => found.push(text));
  }
  want(found.length === 0, `${page.url()}\n${found.join("\n")}`);
}

// inGerman notes what is in English on another's page as on the English one.
async function inGerman(page, other, note) {
  if (await other.locator("html").getAttribute("lang") !== "de") note("the page does not say that it is in German");
  const german = (await other.locator("body").innerText()).split("\n");
  const english = (await page.locator("body").innerText()).split("\n");
  const same = english.filter((line) => /[a-z]{3,} [a-z]{2,}/i.test(line) && german.includes(line) && !names.test(line));
  if (same.length) note(`still English: ${same.join(" | ")}`);
  await narrow(other, "German at 390", note);
}

// names are the same in every language.
const names = /^(Ada Lovelace|Grace Hopper|Håkansson & Söhne)$/;

// violations returns what axe finds, by all of its rules but those that are left out.
export async function violations(page, ...without) {
  await page.evaluate(axe);
  const rules = Object.fromEntries(without.map((rule) => [rule, { enabled: false }]));
  const { violations: all } = await page.evaluate((options) => globalThis.axe.run(document, options), { resultTypes: ["violations"], rules });
  return all.map((each) => `${each.id} (${each.help}): ${each.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ").replaceAll("\n", " ")}`);
}

// narrow notes whatever makes the page scroll sideways.
export async function narrow(page, look, note) {
  const wide = await page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return "";
    const over = [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > root.clientWidth + 0.5);
    return `${root.scrollWidth} px in ${root.clientWidth}: ${over.slice(-3).map((each) => each.outerHTML.slice(0, 100))}`;
  });
  if (wide) note(`${look}: it scrolls sideways, ${wide}`);
}

// zoomed holds the page to 200 % on a desktop and on a phone (WCAG 1.4.4): half as many
// pixels of its own, and, where only the text grows, letters of twice the size. At 320
// pixels it flows, too (WCAG 1.4.10).
async function zoomed(page, note) {
  await page.emulateMedia({ colorScheme: "light" });
  for (const [width, size] of [[640, "100%"], [320, "100%"], [195, "100%"], [1280, "200%"]]) {
    await page.setViewportSize({ width, height: 450 });
    await page.evaluate((text) => { document.documentElement.style.fontSize = text; }, size);
    await narrow(page, `${width} with text at ${size}`, note);
  }
  await page.evaluate(() => { document.documentElement.style.fontSize = ""; });
}

// outline notes what a screen reader would miss that axe does not look for, and any
// script.
async function outline(page, script, note) {
  const is = await page.evaluate(() => ({
    lang: document.documentElement.lang, title: document.title, h1: document.querySelectorAll("h1").length, scripts: document.scripts.length,
    nameless: [...document.querySelectorAll("input:not([type=hidden])")].filter((each) => !each.labels.length && !each.ariaLabel).map((each) => each.name),
  }));
  if (!/^(en|de)$/.test(is.lang)) note(`its language is ${is.lang}`);
  if (!is.title || is.h1 !== 1) note(`its title is "${is.title}", and it has ${is.h1} h1`);
  if (is.nameless.length) note(`fields without a label: ${is.nameless}`);
  if (is.scripts && !script) note(`it has ${is.scripts} scripts`);
}

// weigh loads the page anew with an empty cache and notes what is too heavy, comes
// too late, or comes from elsewhere. What needs a form is weighed as it is reached.
async function weigh(page, script, note) {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.setCacheDisabled", { cacheDisabled: true });
  const asked = new Map();
  session.on("Network.requestWillBeSent", (e) => asked.set(e.requestId, { url: e.request.url, type: e.type, by: e.initiator.type, bytes: 0 }));
  session.on("Network.loadingFinished", (e) => { if (asked.has(e.requestId)) asked.get(e.requestId).bytes = e.encodedDataLength; });
  await page.reload({ waitUntil: script ? "networkidle" : "load" });
  const icon = await page.locator("link[rel=icon]").getAttribute("href").catch(() => null);
  const requests = [...asked.values()];
  if (icon && !requests.some((each) => each.url.endsWith(icon))) {
    requests.push({ url: icon, type: "Image", by: "parser", bytes: (await (await page.request.get(icon)).body()).length + 500 });
  }
  const bytes = requests.reduce((sum, each) => sum + each.bytes, 0);
  if (bytes === 0 || bytes > maxBytes) note(`it weighs ${bytes} bytes: ${JSON.stringify(requests)}`);
  for (const { url, type, by } of requests) {
    const fine = type === "Document" || url.endsWith(icon) || (["Stylesheet", "Image"].includes(type) && by === "parser");
    if (!fine && !script) note(`before it is painted it asks for ${url}, a ${type} by ${by}`);
  }
}

export async function shoot(folder, page, name) {
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

// keyboard signs in with nothing but Tab, typing and Enter, and always sees where it
// is.
export async function keyboard(visitors) {
  const { main } = visitors.world;
  const person = await addPerson(main);
  const page = await visitors.come(main);
  await page.goto("/sign-in");
  await reach(page, "email");
  await page.keyboard.type(person.email);
  await reach(page, "password");
  await page.keyboard.type(person.password);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/account*");
  await (await addedSession(visitors, person)).close();
  await page.reload();
  const reached = [];
  for (let i = 0; i < 80; i += 1) {
    await page.keyboard.press("Tab");
    const text = await focused(page);
    if (!text) break;
    reached.push(text);
    // What is folded is opened by Enter, and Tab goes on into it.
    if (await page.evaluate(() => document.activeElement.localName === "summary")) await page.keyboard.press("Enter");
  }
  for (const control of ["Skip to content", "Sign out", "End session", "End all other sessions", "current_password", "Change password", "Download"]) {
    want(reached.some((each) => each.includes(control)), `Tab never reaches "${control}", only ${reached}`);
  }
  await page.reload();
  for (let text = ""; text !== "Sign out"; text = await focused(page)) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/signed-out");
}

async function addedSession(visitors, person) {
  const other = await visitors.come(visitors.world.main);
  await signIn(other, person);
  return other;
}

// reach presses Tab until the field has the focus.
async function reach(page, name) {
  for (let i = 0; i < 20; i += 1) {
    await page.keyboard.press("Tab");
    await focused(page);
    if (await page.evaluate(() => document.activeElement.name) === name) return;
  }
  throw new Error(`Tab never reaches ${name}`);
}

// focused returns what has the focus, which must be seen to have it.
async function focused(page) {
  const at = await page.evaluate(() => {
    const element = document.activeElement;
    if (element === document.body) return null;
    const box = element.getBoundingClientRect();
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    return { text: element.innerText || element.name || element.tagName, seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && box.width > 0 && box.bottom > 0 };
  });
  if (!at) return "";
  want(at.seen, `nobody sees that ${at.text} has the focus`);
  return at.text;
}
