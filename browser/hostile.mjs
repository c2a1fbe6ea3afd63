// What strangers try with a browser in between, each by the number of its kind in the
// list of attacks that the Go tests name.
import { lasting, payloads, returns } from "./tricks.mjs";
import { addPerson, isSession, mailsTo, linkIn, openAll, signIn, submit, want } from "./visitors.mjs";

// openRedirect has Chromium follow every return_to there is: as a signed-in visitor by
// the link, and through the form of a fresh sign-in. Wherever it is sent in between or
// in the end, the origin is ours or the listed one.
export async function openRedirect(visitors) {
  const { main, friend } = visitors.world;
  const person = await addPerson(main);
  const page = await visitors.come(main, { strangers: true });
  await signIn(page, person);
  const allowed = [main.url, friend];
  const found = [];
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (request.isNavigationRequest() && !allowed.includes(origin)) found.push(`${page.url()} leads to ${request.url()}`);
  });
  const table = returns(main.url, friend);
  want(table.length >= 80, `the table has ${table.length} rows`);
  const sent = [];
  for (const [i, row] of table.entries()) {
    // As a link has it escaped, and as Chromium escapes what was typed into the address bar.
    const typed = await page.evaluate((text) => new URL(`/sign-in?return_to=${text}`, location).search, row);
    for (const query of new Set([`?return_to=${encodeURIComponent(row)}`, typed])) {
      const answer = await page.request.get(`/sign-in${query}`, { maxRedirects: 0 });
      want(answer.status() === 303, `${JSON.stringify(row)}: who is signed in is answered ${answer.status()}`);
      sent.push([row, answer.headers().location]);
    }
    if (i >= 3 && i % 5) continue; // the form asks the same rule, and a sign-in is dear
    const answer = await page.request.post("/sign-in", {
      form: { email: person.email, password: person.password, return_to: row }, headers: { origin: main.url }, maxRedirects: 0,
    });
    want(answer.status() === 303, `${JSON.stringify(row)}: signing in is answered ${answer.status()}`);
    sent.push([row, answer.headers().location]);
  }
  // The server's answers are read by the browser: as addresses, and by going there.
  await page.goto("/account");
  const judged = await page.evaluate((all) => all.map(([, address]) => (URL.canParse(address, location) ? new URL(address, location).origin : "nowhere")), sent);
  judged.forEach((origin, i) => {
    if (!allowed.includes(origin)) found.push(`${JSON.stringify(sent[i][0])} is sent to ${sent[i][1]}`);
  });
  for (const row of new Set(sent.filter(([, address]) => address !== "/account").map(([given]) => given))) {
    await page.goto(`/sign-in?return_to=${encodeURIComponent(row)}`, { waitUntil: "commit" }).catch((error) => {
      if (!/ERR_SSL|ERR_CERT|ERR_ABORTED|interrupted/.test(error.message)) throw error; // the friend speaks no TLS here
    });
  }
  for (const good of ["/account?x=1", `${main.url}/account?x=2`, `${friend}/cart?id=1`]) {
    want(sent.some(([given, location]) => given === good && location === good), `${good} is not kept`);
  }
  want(found.length === 0, found.join("\n"));
}

// addresses is every page with every parameter that it could show, for one payload.
const addresses = (p) => [
  `/sign-in?return_to=${p}&email=${p}&done=${p}&error=${p}`, `/sign-up?return_to=${p}&email=${p}&invitation=${p}`, `/forgot?email=${p}&return_to=${p}`,
  `/reset?token=${p}&email=${p}`, `/verify?token=${p}&email=${p}&code=${p}`, `/setup?token=${p}`, `/signed-out?return_to=${p}&done=${p}`,
  `/account?done=${p}&cursor=${p}`, `/account?done=${p}`, `/${p}`, `/account/sessions/${p}/end`, `/docs?x=${p}#${p}`,
];

// reflectedParameters opens every page with hostile parameters (V-74).
export async function reflectedParameters(visitors) {
  const { main } = visitors.world;
  const page = await visitors.come(main);
  await signIn(page, await addPerson(main));
  const stranger = await visitors.come(main);
  for (const payload of payloads) {
    for (const [i, address] of addresses(encodeURIComponent(payload)).entries()) {
      const visitor = i < 7 ? stranger : page; // the forms show themselves only to who is not signed in
      await visitor.goto(address, { waitUntil: "load" });
      await untouched(visitor, payload);
    }
  }
}

// reflectedFields types the same into every field of every form and submits it, and
// comes with it as the name of its browser. What is kept is shown on the account page.
export async function reflectedFields(visitors) {
  const { main } = visitors.world;
  for (const payload of lasting) {
    const options = { userAgent: payload };
    const person = await addPerson(main, { name: payload.slice(0, 200) }); // the longest name there is
    const stranger = await visitors.come(main, options);
    const page = await visitors.come(main, options);
    await signIn(page, person);
    await untouched(page, payload);
    for (const [visitor, address] of [[stranger, "/sign-in"], [stranger, "/sign-up"], [stranger, "/forgot"], [stranger, "/verify"], [page, "/account"]]) {
      await visitor.goto(address);
      await openAll(visitor.locator("details:not([open])"));
      const forms = visitor.locator('form:has(input:is([type=text],[type=email],[type=password]):visible)');
      for (let i = 0; i < await forms.count(); i += 1) {
        for (const field of await forms.nth(i).locator("input:is([type=text],[type=email],[type=password]):visible").all()) await field.fill(payload);
        await forms.nth(i).locator("button").last().click();
        await visitor.waitForLoadState();
        await untouched(visitor, payload);
        await visitor.goto(address);
        await openAll(visitor.locator("details:not([open])"));
      }
    }
    await Promise.all([page.context().close(), stranger.context().close()]);
  }
}

// untouched holds the page to what no payload may make of it.
export async function untouched(page, payload) {
  const made = await page.evaluate(() => {
    const found = [];
    for (const each of document.querySelectorAll("*")) {
      if (each.localName === "xss-probe") found.push("an element");
      for (const { name, value } of each.attributes) {
        if (name.startsWith("on")) found.push(`${name} on <${each.localName}>`);
        if (["href", "src", "action", "formaction"].includes(name) && !each.closest("svg") && !/^(https?:$|[/#?]|mailto:)/.test(value) && new URL(value, document.baseURI).origin !== location.origin) found.push(`${name}=${value}`);
        if (["href", "src", "action"].includes(name) && /^\s*(javascript|data|vbscript):/i.test(value)) found.push(`${name}=${value}`);
      }
    }
    if (document.scripts.length && location.pathname !== "/docs") found.push("a script");
    if (globalThis.xss) found.push("a script that ran");
    return found;
  });
  want(made.length === 0, `${JSON.stringify(payload)} makes ${made} on ${page.url()}`);
}

const inStrangersPage = (origin, html) => `${origin}/?${new URLSearchParams({ page: html })}`;

// framed shows our pages in a frame of a stranger's page, which must stay empty (V-75).
export async function framed(visitors) {
  const { main, evil, sibling } = visitors.world;
  const page = await visitors.come(main, { strangers: true });
  await signIn(page, await addPerson(main));
  for (const origin of [evil, sibling]) {
    for (const path of ["/sign-in", "/sign-up", "/account", "/forgot", "/signed-out", "/docs", "/nowhere"]) {
      await page.goto(inStrangersPage(origin, `<iframe src="${main.url}${path}"></iframe>`));
      const frame = page.frames().find((each) => each !== page.mainFrame());
      want(frame && await frame.locator("main, form, h1").filter({ hasText: /\S/ }).count() === 0 || frame.url().startsWith("chrome-error:"), `${path} shows itself in a frame of ${origin}`);
    }
  }
}

// crossOrigin submits every form there is from pages of strangers, of another site and
// of another origin on ours, from where cookies come with it. Each is refused and does
// nothing; signing a victim in as somebody else (login CSRF) is one of them.
export async function crossOrigin(visitors) {
  const { main, plain, evil, sibling } = visitors.world;
  const attacker = await addPerson(main);
  const victim = await addPerson(main);
  const page = await visitors.come(main, { strangers: true });
  const forms = [
    ...await formsOf(page, `${main.url}/sign-in`), ...await formsOf(page, `${main.url}/sign-up`), ...await formsOf(page, `${main.url}/forgot`),
    ...await formsOf(page, `${main.url}/verify`), ...await formsOf(page, plain.setup), ...await formsOf(page, await resetLink(visitors, page, attacker)),
  ];
  await signIn(page, victim);
  await signIn(await visitors.come(main), victim); // so that there is something to end
  forms.push(...await formsOf(page, `${main.url}/account`));
  const actions = new Set(forms.map((form) => new URL(form.action).pathname.replace(/ses_[^/]*/, "ID")));
  for (const action of ["/sign-in", "/sign-up", "/sign-out", "/forgot", "/reset", "/setup", "/account/name", "/account/password", "/account/sessions/end-others", "/account/sessions/ID/end"]) {
    want(actions.has(action), `no form leads to ${action}, only ${[...actions]}`);
  }
  const before = await page.context().cookies();
  const values = { email: attacker.email, password: attacker.password, name: "Mallory", current_password: victim.password, new_password: "the attacker chose this" };
  for (const [origin, head] of [[evil, ""], [sibling, ""], [sibling, "<meta name=referrer content=no-referrer>"]]) {
    for (const { action, names } of forms) {
      const inputs = names.map(([name, value]) => `<input name="${name}" value="${values[name] ?? value}">`).join("");
      await page.goto(inStrangersPage(origin, `${head}<form method=post action="${action}">${inputs}<button>Win a prize</button></form>`));
      const [answer] = await Promise.all([page.waitForResponse((r) => r.request().method() === "POST"), page.locator("button").click()]);
      want(answer.status() === 403, `${action} from ${origin} is answered ${answer.status()}`);
      want(!answer.headers()["set-cookie"], `${action} from ${origin} sets a cookie`);
    }
  }
  await page.goto(`${main.url}/account`);
  const text = await page.locator("main").innerText();
  want(text.includes(victim.email) && !text.includes("Mallory"), "something was done");
  const after = await page.context().cookies();
  want(before.length === after.length, "the cookies are others than before");
  await signIn(await visitors.come(main), victim);
}

async function resetLink(visitors, page, person) {
  await page.goto("/forgot");
  await submit(page, { email: person.email });
  return linkIn((await mailsTo(visitors.world, person.email))[0], "/reset");
}

// formsOf returns where the forms of a page lead to and what they hold.
async function formsOf(page, address) {
  await page.goto(address);
  return page.evaluate(() => [...document.forms].filter((form) => form.method === "post").map((form) => ({
    action: form.action, names: [...form.elements].filter((each) => each.name).map((each) => [each.name, each.value]),
  })));
}

// fixation plants cookies before somebody signs in, who gets others than those.
export async function fixation(visitors) {
  const { main } = visitors.world;
  const attacker = await visitors.come(main);
  await signIn(attacker, await addPerson(main));
  const planted = await attacker.context().cookies();
  const victim = await visitors.come(main);
  await victim.context().addCookies(planted);
  const person = await addPerson(main);
  const answer = await victim.request.post("/sign-in", { form: { email: person.email, password: person.password }, headers: { origin: main.url }, maxRedirects: 0 });
  want(answer.status() === 303, `signing in is answered ${answer.status()}`);
  const name = planted.find((cookie) => isSession(cookie)).name;
  const own = (cookies) => cookies.find((cookie) => cookie.name === name).value;
  want(own(await victim.context().cookies()) !== own(planted), "the planted cookie is the session");
  await victim.goto("/account");
  want((await victim.locator("main").innerText()).includes(person.email), "the victim is signed in as somebody else");
  await attacker.goto("/account");
  want(!(await attacker.locator("main").innerText()).includes(person.email), "the attacker is signed in as the victim");
}
