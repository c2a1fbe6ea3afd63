// What people see of the applications that they have connected, and how they end it.
import { authorize } from "./consent.mjs";
import { addPerson, expectURL, openAll, signIn, want } from "./visitors.mjs";

// connect registers an application, has the person on the page allow it, and redeems the
// code as the application's server does. It returns what the application then holds.
export async function connect(page, server, { name = "Shop", scope = "openid email", ...more } = {}) {
  const call = async (path, headers, body) => {
    const answer = await fetch(server.url + path, { method: "POST", headers, body });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const made = await call("/v1/admin/clients", { authorization: `Bearer ${server.apiKey}`, "content-type": "application/json" }, JSON.stringify({
    type: "web", name, redirect_uris: [`${server.url}/callback`], scope, token_endpoint_auth_method: "client_secret_post", ...more,
  }));
  const resource = more.audiences ? { resource: more.audiences[0] } : {};
  await page.goto(authorize(server, made.client_id, { scope, ...resource }));
  await expectURL(page, "/consent");
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await expectURL(page, "/callback");
  const client = { client_id: made.client_id, client_secret: made.client_secret };
  const drawn = await call("/oauth2/token", {}, new URLSearchParams({
    grant_type: "authorization_code", code: new URL(page.url()).searchParams.get("code"), redirect_uri: `${server.url}/callback`,
    code_verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", ...client,
  }));
  return { ...client, ...drawn };
}

// connected arrives at the account of somebody who uses several applications.
export async function connected(page, visitors) {
  const { main } = visitors.world;
  await signIn(page, await addPerson(main, { name: "Ada Lovelace" }));
  await connect(page, main, { name: "Shop", client_uri: "https://shop.example/" });
  await connect(page, main, { name: "Notes", scope: "openid profile offline_access orders:read", audiences: ["https://orders.example.com"] });
  await connect(page, main, { name: "Donaudampfschifffahrtsgesellschaft".repeat(2) });
  await page.goto("/account");
}

// A person sees what an application may do, and disconnects it: its token is worth
// nothing any more, it has to ask again, and she stays signed in (ASVS-10.7.3).
export async function disconnects(visitors, options) {
  const { main } = visitors.world;
  const page = await visitors.come(main, options);
  await signIn(page, await addPerson(main));
  want(await page.locator("#applications").count() === 0, "applications are shown where there are none");
  const shop = await connect(page, main, { name: "Shop" });
  await connect(page, main, { name: "Notes" });
  const info = () => fetch(`${main.url}/oauth2/userinfo`, { headers: { authorization: `Bearer ${shop.access_token}` } });
  want((await info()).status === 200, "the application does not know who it is");
  await page.goto("/account");
  const row = page.locator("#applications .devices > li").filter({ hasText: "Shop" });
  await openAll(row.locator("details:not([open])"));
  await row.getByText("see your email address").waitFor();
  await row.getByRole("button", { name: "Disconnect" }).click();
  await page.getByRole("status").waitFor();
  want(await row.count() === 0 && await page.locator("#applications .devices > li").count() === 1, "it is still shown, or the other is not");
  want((await info()).status === 401, "its token is good for something");
  await page.goto(authorize(main, shop.client_id));
  await expectURL(page, "/consent");
  await page.goto("/account");
  await expectURL(page, "/account");
}
