// Moves the browser for the Go tests. The first line of standard input is the world;
// each further one is a scenario to play: {"id", "scenario", "arguments"}. Each is
// answered by a line: {"id", "failure"}. Standard input's end is the end.
import { createInterface } from "node:readline";
import process from "node:process";
import { chromium } from "playwright-core";
import * as applications from "./applications.mjs";
import * as consent from "./consent.mjs";
import * as hostile from "./hostile.mjs";
import * as lifecycles from "./lifecycles.mjs";
import * as logout from "./logout.mjs";
import * as mails from "./mails.mjs";
import * as pages from "./pages.mjs";
import { Visitors } from "./visitors.mjs";

const scenarios = { ...lifecycles, ...applications, ...consent, ...hostile, ...logout, ...mails, ...pages };

const lines = createInterface({ input: process.stdin });
const pending = [];
let world, browser;
for await (const line of lines) {
  const message = JSON.parse(line);
  if (!world) {
    world = message;
    browser = await chromium.launch({
      executablePath: world.chromium,
      // Root has no sandbox. No name but localhost leads out of this machine.
      args: ["--no-sandbox", `--host-resolver-rules=MAP * ${world.strangers}, EXCLUDE localhost, EXCLUDE 127.0.0.1`],
    });
    continue;
  }
  pending.push(play(message));
}
await Promise.all(pending);
await browser?.close();

async function play({ id, scenario, arguments: given }) {
  const visitors = new Visitors(browser, world);
  let failure = "";
  try {
    await scenarios[scenario](visitors, ...(given ?? []));
  } catch (error) {
    failure = `${error.stack ?? error}\n${await visitors.whereabouts()}`;
  }
  failure = [failure, ...(await visitors.leave())].filter(Boolean).join("\n");
  process.stdout.write(JSON.stringify({ id, failure }) + "\n");
}
