// What attackers write.

// breakouts leave an attribute or an element and make others. Any one of them shows
// itself, so they travel together.
const breakouts = [
  "<script>alert(1)</script><xss-probe>",
  "\"><xss-probe onfocus=alert(1) autofocus tabindex=0>",
  "'><img src=x onerror=alert(1)><xss-probe>",
  "</title></textarea></form><svg/onload=alert(1)><xss-probe>",
  "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe><base href=//evil.example><meta http-equiv=refresh content=\"0;url=http://evil.example\"><xss-probe>",
  "<style>@import 'http://evil.example'</style><link rel=stylesheet href=http://evil.example><xss-probe>",
].join("");
const handlers = "\" onmouseover=\"alert(1)\" autofocus onfocus=\"alert(1)\" x=\"";

// payloads would run a script, make an element or lead elsewhere, were they taken for
// more than text.
export const payloads = [
  breakouts, handlers, "javascript:alert(1)//<xss-probe>", "data:text/html,<script>alert(1)</script>",
  "{{constructor.constructor('alert(1)')()}}${alert(1)}<%= alert(1) %>",
  "%3Cscript%3Ealert(1)%3C/script%3E&lt;xss-probe&gt;&#60;xss-probe&#62;\\u003cxss-probe\\u003e",
  "\u2028<scr\u0000ipt>alert(1)</scr\u0000ipt>\uff1cxss-probe\uff1e<xss-probe>\r\n\r\n<xss-probe>",
];

// lasting are those that go into what is kept and shown again.
export const lasting = [breakouts, handlers];

// returns is the table of V-101: each a return_to, most of which some browser or
// library has taken for a way out.
export const returns = (own, friend) => {
  const { host } = new URL(own);
  return [
    // Fine.
    "/account?x=1", `${own}/account?x=2`, `${friend}/cart?id=1`,
    // Another host, said so, and without a scheme.
    "http://evil.example", "https://evil.example/", "ftp://evil.example/", "HTTP://EVIL.EXAMPLE", "//evil.example", "//evil.example/", "///evil.example", "////evil.example", "/////evil.example/",
    "http:evil.example", "http:/evil.example", "http:///evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example", "//evil.example:80", "//evil.example/%2e%2e",
    // Backslashes.
    "/\\evil.example", "\\/evil.example", "\\\\evil.example", "/\\/evil.example", "\\/\\/evil.example", "/\\\\evil.example", "http:\\\\evil.example", "https:\\evil.example", "http:/\\evil.example",
    `${own}\\@evil.example`, `${own}\\.evil.example`, "/account\\..\\..\\\\evil.example", "/;\\evil.example",
    // What browsers drop: tabs, line breaks, controls, and space around.
    "/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "/\r\n/evil.example", "\t//evil.example", "\n//evil.example", "//\tevil.example", "ht\ntp://evil.example", "http:\t//evil.example", "http:/\n/evil.example",
    " //evil.example", "\u0000//evil.example", "\u0001//evil.example", "/\u0000/evil.example", "//evil.example ", "/\t\\evil.example", "\u000b//evil.example", "\u001f//evil.example", "/\u000c/evil.example",
    "/\r\nLocation: http://evil.example", "/%0d%0aLocation:%20http://evil.example",
    // Escapes, once and more often.
    "/%09/evil.example", "/%0a/evil.example", "/%0d/evil.example", "%2f%2fevil.example", "/%2fevil.example", "/%2f%2fevil.example", "/%5cevil.example", "/%5c%5cevil.example", "%5c%5cevil.example", "/%252fevil.example",
    "/%252f%252fevil.example", "%252f%252fevil.example", "/%25252fevil.example", "http%3a%2f%2fevil.example", "http%3A//evil.example", "/%00/evil.example", "/%e3%80%82evil.example",
    // User, port, and hosts that begin or end like ours.
    `${own}@evil.example`, `${own}:80@evil.example`, `${own}%40evil.example`, `${own}.evil.example`, `http://${host}@evil.example`, `http://evil.example#${own}`, `http://evil.example?${own}/`, `http://evil.example/${own}/`,
    `//${host}@evil.example`, `http://user:${host}@evil.example`, `http://evil.example\\@${host}`, `http://evil.example;@${host}.evil.example`, `http://evil.example%23@${host}.evil.example`, `http://localhost:1${host.split(":")[1].slice(1)}/`,
    `https://sub.${new URL(friend).host}/`, `${friend}.evil.example/`, `${friend}@evil.example/`, `${friend}:8443/`, `${friend}%2eevil.example/`, `http://${new URL(friend).host}/`,
    // Dot segments.
    "/..//evil.example", "/.//evil.example", "/./\\evil.example", "/../../evil.example", "/%2e%2e//evil.example", "/%2e//evil.example", "/a/..//evil.example", "/account/..//evil.example/", "//./evil.example", "/.%2e//evil.example",
    // Other schemes.
    "javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)", "java\tscript:alert(1)", "\u0001javascript:alert(1)", "javascript://%0aalert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:x", "blob:http://evil.example/x",
    "view-source:http://evil.example", "filesystem:http://evil.example/x", "intent://evil.example#Intent;scheme=http;end", "about:blank", "file:///etc/passwd", "ws://evil.example",
    // Letters that some reader folds into others: dots, slashes, at signs, marks of direction.
    "//evil\u3002example", "//evil\uff0eexample", "//evil\uff61example", "/\u3002evil.example", "/\uff0fevil.example", "\uff0f\uff0fevil.example", "/\u2044evil.example", "/\u2215/evil.example", "\u3033\u3033evil.example", "/\u3035/evil.example",
    "http://evil.example\uff0f@localhost", `${own}\uff20evil.example`, "/\u202e/elpmaxe.live", "\ufeff//evil.example", "\u200b//evil.example", "/\u00ad/evil.example", "\u00a0//evil.example", "\u2028//evil.example", "http\uff1a//evil.example",
    // Hosts in other writings.
    "//0x7f.1", "//[::1]/", "http://2130706433/", "http://127.0.0.1/", "//127.1/", "http://[::ffff:127.0.0.1]/", "http://localhost/", "http://localhost./",
    `http://localhost.:${host.split(":")[1]}/`, `http://127.0.0.1:${host.split(":")[1]}/`,
    "", " ", ".", "..", "account", "?x", "#//evil.example", "@evil.example", ":80", ";//evil.example", "/".repeat(2000), `/${"a".repeat(4000)}`, `//${"a".repeat(60)}.evil.example`,
  ];
};
