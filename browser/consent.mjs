// Applications send people here and get them back: what people meet in between, and what
// strangers make of it.
import { untouched } from "./hostile.mjs";
import { lasting, payloads } from "./tricks.mjs";
import { addPerson, expectURL, newPerson, signIn, submit, want } from "./visitors.mjs";

// addApplication registers an application and returns its id. Where nothing else is said,
// it is answered at an address of the server's own, where there is nothing.
export async function addApplication(server, more = {}) {
  const answer = await fetch(`${server.url}/v1/admin/clients`, {
    method: "POST",
    headers: { authorization: `Bearer ${server.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ type: "web", name: "Shop", redirect_uris: [`${server.url}/callback`], scope: "openid profile email offline_access", ...more }),
  });
  if (answer.status !== 201) throw new Error(`add an application: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).client_id;
}

// authorize is where an application sends people.
export const authorize = (server, client, more = {}) => `/oauth2/authorize?${new URLSearchParams({
  client_id: client, redirect_uri: `${server.url}/callback`, response_type: "code", scope: "openid email", state: "a state", nonce: "a nonce",
  code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method: "S256", ...more,
})}`;

// asked brings a page to where a person is asked for their consent.
export async function asked(page, visitors, application = {}, request = {}) {
  const { main } = visitors.world;
  const client = await addApplication(main, application);
  await signIn(page, await addPerson(main, { name: "Ada Lovelace" }));
  await page.goto(authorize(main, client, request));
  await expectURL(page, "/consent");
}

// throughApplications signs up from one application, allows it, is let through from the
// next time on, and says no to another: each at another origin, to which the browser lets
// the forms of our pages lead.
export async function throughApplications(visitors, options) {
  const { main, sibling } = visitors.world;
  const page = await visitors.come(main, { strangers: true, ...options });
  const back = `${sibling}/callback`;
  const arrived = async () => {
    await expectURL(page, "/callback");
    return new URL(page.url()).searchParams;
  };
  const client = await addApplication(main, { redirect_uris: [back] });
  const person = await addPerson(main);
  await page.goto(authorize(main, client, { redirect_uri: back, login_hint: person.email }));
  await page.getByText("to continue to Shop").waitFor();
  want(await page.locator("[name=email]").inputValue() === person.email, "the hint is not in the field");
  await submit(page, { password: person.password }, "Sign in");
  await expectURL(page, "/consent");
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  const answer = await arrived();
  want(/^ckc_/.test(answer.get("code")) && answer.get("state") === "a state" && answer.get("iss") === main.url, `the answer is ${answer}`);
  await page.goBack(); // a page that was answered says so, and does nothing
  await page.goto(authorize(main, client, { redirect_uri: back }));
  await arrived();

  await page.goto(authorize(main, client, { redirect_uri: back, prompt: "consent" }));
  await page.getByRole("button", { name: "Deny", exact: true }).click();
  want((await arrived()).get("error") === "access_denied", "the application is not told of the no");

  // By a form, which a script sends, or the person. Straight from the sign-in, too.
  const trusted = await addApplication(main, { redirect_uris: [back], trusted: true });
  const posted = [];
  page.on("request", (request) => { if (request.method() === "POST" && request.url() === back) posted.push([request.postData(), request.headers()]); });
  for (const more of [{}, { prompt: "login" }]) {
    await page.goto(authorize(main, trusted, { redirect_uri: back, response_mode: "form_post", ...more }));
    if (more.prompt) {
      await expectURL(page, "/sign-in");
      for (let path = "/sign-in"; path === "/sign-in";) { // who does it within the second of the last time is asked again
        const landed = page.waitForResponse((response) => response.request().isNavigationRequest() && response.status() === 200);
        await submit(page, { password: person.password }, "Sign in");
        path = new URL((await landed).url()).pathname;
      }
    }
    if (options.javaScriptEnabled === false) await page.getByRole("button", { name: "Continue" }).click();
    await expectURL(page, "/callback");
  }
  want(posted.length === 2, `${posted.length} forms came`);
  for (const [body, headers] of posted) {
    want(/^ckc_/.test(new URLSearchParams(body).get("code")), `the form is ${body}`);
    want(headers.origin === main.url && !/code|authorize/.test(headers.referer ?? ""), `the form comes from ${headers.origin} and tells of ${headers.referer}`);
  }
}

// reflectedRequests puts every payload into every parameter of every address that an
// application or a stranger can make up, and into what an application is called (V-74).
export async function reflectedRequests(visitors) {
  const { main } = visitors.world;
  const page = await visitors.come(main);
  await signIn(page, await addPerson(main));
  const stranger = await visitors.come(main);
  const client = await addApplication(main);
  const names = [
    "client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "prompt", "max_age",
    "login_hint", "id_token_hint", "acr_values", "ui_locales", "claims", "resource", "display", "request", "request_uri", "continue",
  ];
  for (const payload of payloads) {
    for (const name of names) {
      for (const visitor of [stranger, page]) {
        await visitor.goto(authorize(main, client, { [name]: payload }), { waitUntil: "load" });
        await untouched(visitor, payload);
      }
    }
    const p = encodeURIComponent(payload);
    for (const address of [`/consent?continue=${p}`, `/oauth2/authorize?continue=${p}`, `/sign-in?return_to=${encodeURIComponent("/oauth2/authorize?continue=")}${p}`, `/oauth2/authorize?${p}`]) {
      await page.goto(address, { waitUntil: "load" });
      await untouched(page, payload);
    }
    await heldForm(page, authorize(main, client, { response_mode: "form_post", prompt: "none", state: payload.replace(/[\u0000-\u001f]/g, "") }), payload.replace(/[\u0000-\u001f]/g, ""));
  }
  for (const payload of [...lasting.map((text) => text.slice(0, 100).trim()), "<xss-probe>", "\" onmouseover=alert(1)"]) {
    const called = await addApplication(main, { name: payload });
    for (const [visitor, path] of [[stranger, "/sign-in"], [page, "/consent"]]) {
      await visitor.goto(authorize(main, called, { prompt: visitor === page ? "consent" : "login" }));
      await expectURL(visitor, path);
      await untouched(visitor, payload);
      want((await visitor.locator("main").innerText()).includes(payload.slice(0, 20)), `${payload} is not shown as it is`);
    }
  }
}

// heldForm looks at a form for an application before it is sent: it has our one script,
// which says nothing of the request, and holds the payload as it was sent.
async function heldForm(page, address, payload) {
  const held = (route) => route.fulfill({ status: 204 }); // which keeps a browser where it is
  await page.route("**/callback", held);
  await Promise.all([page.waitForRequest((request) => request.method() === "POST"), page.goto(address, { waitUntil: "commit" })]);
  const made = await page.evaluate(() => ({
    scripts: [...document.scripts].map((each) => each.text), probes: document.querySelectorAll("xss-probe, [onfocus], [onmouseover]").length,
    state: document.querySelector("[name=state]")?.value, ran: Boolean(globalThis.xss),
  }));
  await page.unroute("**/callback", held);
  want(made.scripts.length === 1 && /^document\.getElementById\("answer"\)\.submit\(\)$/.test(made.scripts[0]), `the scripts are ${made.scripts}`);
  want(made.probes === 0 && !made.ran && made.state === payload, `${JSON.stringify(payload)} is ${JSON.stringify(made)}`);
}

// framedConsent shows the page that asks in a frame of a stranger's page on our own site,
// to where cookies come with it. It stays empty (V-75).
export async function framedConsent(visitors) {
  const { main, sibling } = visitors.world;
  const page = await visitors.come(main, { strangers: true });
  const client = await addApplication(main);
  await signIn(page, await addPerson(main));
  await page.goto(authorize(main, client));
  await expectURL(page, "/consent");
  for (const address of [page.url(), main.url + authorize(main, client), `${main.url}${authorize(main, client, { response_mode: "form_post", prompt: "none" })}`]) {
    await page.goto(`${sibling}/?${new URLSearchParams({ page: `<iframe src="${address.replaceAll("&", "&amp;")}"></iframe>` })}`);
    const frame = page.frames().find((each) => each !== page.mainFrame());
    want(frame && (frame.url().startsWith("chrome-error:") || await frame.locator("main, form").count() === 0), `${address} shows itself in a frame`);
  }
}

// newcomer signs up from an application, with the proof of the address in between, and
// gets there.
export async function newcomer(visitors, options) {
  const { main, sibling } = visitors.world;
  const page = await visitors.come(main, { strangers: true, ...options });
  const client = await addApplication(main, { redirect_uris: [`${sibling}/callback`], trusted: true });
  const person = newPerson();
  await page.goto(authorize(main, client, { redirect_uri: `${sibling}/callback` }));
  await page.getByRole("link", { name: "Create account" }).click();
  await submit(page, { name: person.name, email: person.email, password: person.password }, "Create account");
  await page.locator("[name=code]").waitFor();
  const letters = await (await fetch(`${visitors.world.post}/?${new URLSearchParams({ to: person.email, after: 0 })}`)).json();
  await page.goto(letters[0].text.match(/http\S*\/verify\?\S*/)[0]);
  await page.locator("main form button").click();
  await expectURL(page, "/callback");
  want(/^ckc_/.test(new URL(page.url()).searchParams.get("code")), `the newcomer arrives at ${page.url()}`);
}
