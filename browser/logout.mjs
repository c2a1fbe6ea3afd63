// Applications sign people out, and strangers try to.
import { addAccount } from "./lifecycles.mjs";
import { addApplication, authorize } from "./consent.mjs";
import { untouched } from "./hostile.mjs";
import { payloads } from "./tricks.mjs";
import { addPerson, expectURL, isSession, signIn, want } from "./visitors.mjs";

// logout is where an application sends people to be signed out.
export const logout = (client, more = {}) => `/oauth2/logout?${new URLSearchParams({ client_id: client, ...more })}`;

const signedIn = async (page) => (await page.context().cookies()).some(isSession);

// throughLogout is asked by an application whether to sign out, stays, is asked once more,
// and signs out: back at the application, which is another origin, and out of all others.
export async function throughLogout(visitors, options) {
  const { main, sibling } = visitors.world;
  const page = await visitors.come(main, { strangers: true, ...options });
  const bye = `${sibling}/bye`;
  const client = await addApplication(main, { redirect_uris: [`${sibling}/callback`], post_logout_redirect_uris: [bye], trusted: true });
  await signIn(page, await addPerson(main, { name: "Ada Lovelace" }));
  await page.goto(authorize(main, client, { redirect_uri: `${sibling}/callback` }));
  await expectURL(page, "/callback");

  const ask = logout(client, { post_logout_redirect_uri: bye, state: "a state" });
  await page.goto(new URL(ask, main.url).href);
  await page.getByText("Shop asks us to sign you out.").waitFor();
  want(await signedIn(page), "nobody has said yes, and the session is gone");
  await page.getByRole("link", { name: "Stay signed in" }).click();
  await expectURL(page, "/account");

  // By a form of the application's own site (RPL-1), with which no cookie of ours comes.
  await page.goto(`${sibling}/?${new URLSearchParams({ page: `<form method="post" action="${main.url}/oauth2/logout"><input name="client_id" value="${client}"><input name="post_logout_redirect_uri" value="${bye}"><input name="state" value="a state"><button>Sign out of Shop</button></form>` })}`);
  await page.getByRole("button", { name: "Sign out of Shop" }).click();
  await page.getByText("Shop asks us to sign you out.").waitFor();
  await page.getByText("Ada Lovelace").waitFor();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await expectURL(page, "/bye");
  want(page.url() === `${bye}?state=a+state`, `the person is at ${page.url()}`);
  want(!await signedIn(page), "the cookie is still there");
  await page.goto(`${main.url}/account`);
  await expectURL(page, "/sign-in");
  await page.goto(new URL(ask, main.url).href); // there is nothing to ask any more
  await expectURL(page, "/bye");

  // Without an address to go to, a page of ours says that it is done.
  await signIn(page, await addPerson(main));
  await page.goto(`${main.url}/oauth2/logout`);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await expectURL(page, "/signed-out");
}

// forcedLogout tries from a stranger's site, by all means that a page has (V-72).
export async function forcedLogout(visitors) {
  const { main, evil } = visitors.world;
  const page = await visitors.come(main, { strangers: true });
  const client = await addApplication(main, { redirect_uris: [`${main.url}/callback`] });
  await signIn(page, await addPerson(main));
  const address = `${main.url}${logout(client)}`;
  for (const way of [
    `<img src="${address}">`, `<iframe src="${address}"></iframe>`, `<link rel="prefetch" href="${address}">`, `<link rel="stylesheet" href="${address}">`,
    `<script>location = ${JSON.stringify(address)}</script>`, `<script>open(${JSON.stringify(address)})</script>`,
    `<form method="post" action="${main.url}/oauth2/logout"><input name="client_id" value="${client}"></form><script>document.forms[0].submit()</script>`,
    `<form method="post" action="${main.url}/oauth2/logout/confirm"><input name="account" value="usr_any"></form><script>document.forms[0].submit()</script>`,
  ]) {
    await page.goto(`${evil}/?${new URLSearchParams({ page: way })}`, { waitUntil: "load" }).catch(() => {}); // it may be left at once
    await page.waitForLoadState("networkidle");
    want(await signedIn(page), `${way} took the cookie`);
    await page.goto(`${main.url}/account`);
    await expectURL(page, "/account");
  }
}

// reflectedLogout puts every payload into every parameter of the address (V-74).
export async function reflectedLogout(visitors) {
  const { main } = visitors.world;
  const page = await visitors.come(main);
  await addAccount(page, await addPerson(main));
  const client = await addApplication(main, { post_logout_redirect_uris: [`${main.url}/bye`] });
  for (const payload of payloads) {
    for (const name of ["id_token_hint", "logout_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales"]) {
      await page.goto(logout(client, { post_logout_redirect_uri: `${main.url}/bye`, [name]: payload }), { waitUntil: "load" });
      await untouched(page, payload);
    }
  }
  want(await signedIn(page), "a payload has signed somebody out");
}
