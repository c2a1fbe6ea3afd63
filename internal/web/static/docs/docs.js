"use strict";

// A page to read and try the calls of this server. It is made from /openapi.json
// alone, writes text and never markup, and keeps nothing.

// make returns an element with the given properties and children.
function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// resolve follows a reference within the description.
function resolve(api, schema) {
  return schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema ?? {};
}

// sample returns a value of the schema to begin with: the required members, empty.
function sample(api, schema) {
  const s = resolve(api, schema);
  switch (s.type) {
    case "object":
      return Object.fromEntries((s.required ?? []).map((name) => [name, sample(api, s.properties[name])]));
    case "array": return [];
    case "integer": return 0;
    case "boolean": return false;
    default: return "";
  }
}

function describeMembers(api, schema) {
  const s = resolve(api, schema);
  const list = make("ul");
  for (const [name, member] of Object.entries(s.properties ?? {})) {
    const required = (s.required ?? []).includes(name) ? "required" : "optional";
    const about = [resolve(api, member).type ?? "any", required, member.description].filter(Boolean).join(", ");
    list.append(make("li", {}, make("code", { textContent: name }), " " + about));
  }
  return list;
}

// field adds a labelled input to the form and returns it.
function field(form, label, properties, kind = "input") {
  const input = make(kind, { autocomplete: "off", spellcheck: false, ...properties });
  form.append(make("label", {}, label, input));
  return input;
}

// show writes an answer as it comes, so that streams can be watched, too.
async function show(answer, out) {
  out.textContent = `${answer.status} ${answer.statusText}\n`;
  for (const [name, value] of answer.headers) out.textContent += `${name}: ${value}\n`;
  out.textContent += "\n";
  const isJSON = (answer.headers.get("Content-Type") ?? "").includes("json");
  if (isJSON || !answer.body) {
    const text = await answer.text();
    out.textContent += isJSON && text ? JSON.stringify(JSON.parse(text), null, 2) : text;
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) out.append(part.value);
}

// prepare turns what was filled in into a request.
function prepare(method, path, inputs, body) {
  const headers = new Headers();
  const query = new URLSearchParams();
  let address = path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
    else if (input.value) headers.set(parameter.name, input.value);
  }
  const bearer = document.getElementById("bearer").value.trim();
  if (bearer) headers.set("Authorization", `Bearer ${bearer}`);
  const init = { method, headers, credentials: "same-origin", redirect: "manual", cache: "no-store" };
  if (body && body.input.value) {
    headers.set("Content-Type", body.media);
    init.body = body.media.endsWith("urlencoded") ? new URLSearchParams(JSON.parse(body.input.value)).toString() : body.input.value;
  }
  return [address + (query.size ? `?${query}` : ""), init];
}

function callForm(api, method, path, operation) {
  const form = make("form");
  const inputs = (operation.parameters ?? []).map((parameter) => ({
    parameter,
    input: field(form, `${parameter.name} (${parameter.in}): ${parameter.description ?? ""}`, { required: parameter.required }),
  }));
  let body = null;
  const content = Object.entries(operation.requestBody?.content ?? {})[0];
  if (content) {
    const [media, { schema }] = content;
    form.append(describeMembers(api, schema));
    body = { media, input: field(form, `Body, as JSON (sent as ${media})`, { rows: 6, value: JSON.stringify(sample(api, schema), null, 2) }, "textarea") };
  }
  const out = make("pre", { ariaLive: "polite" });
  const stop = make("button", { type: "button", textContent: "Stop", hidden: true });
  form.append(make("button", { textContent: "Send" }), stop, out);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const abort = new AbortController();
    stop.onclick = () => abort.abort();
    stop.hidden = false;
    try {
      const [address, init] = prepare(method.toUpperCase(), path, inputs, body);
      await show(await fetch(address, { ...init, signal: abort.signal }), out);
    } catch (problem) {
      out.append(`\n${problem.message}`);
    }
    stop.hidden = true;
  });
  return form;
}

function describeCall(api, method, path, operation) {
  const ways = (operation.security ?? []).map((way) => Object.entries(way).map(([name, scopes]) => [name, ...scopes].join(" ")).join(" and "));
  return make("details", {},
    make("summary", {}, make("code", { textContent: `${method.toUpperCase()} ${path}` }), ` ${operation.summary}`),
    make("p", { textContent: ways.length ? `With ${ways.join(" or ")}.` : "Open to anyone." }),
    callForm(api, method, path, operation));
}

async function main() {
  const calls = document.getElementById("calls");
  const api = await (await fetch("/openapi.json")).json();
  const sections = new Map();
  for (const { name } of api.tags) {
    sections.set(name, make("section", {}, make("h2", { textContent: name })));
    calls.append(sections.get(name));
  }
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      sections.get(operation.tags[0]).append(describeCall(api, method, path, operation));
    }
  }
}

main();
