package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// An object is a piece of the OpenAPI document. Maps are written with their members
// in order of name, so the same table gives the same bytes.
type object = map[string]any

// describeAPI writes the OpenAPI 3.1 document of every row of the table that is no
// page. What is not in the table cannot be in the document, and the reverse.
func describeAPI(issuer, cookie, version string) ([]byte, error) {
	types := newSchemas()
	paths := object{}
	for i := range routes {
		rt := &routes[i]
		if rt.class == page {
			continue
		}
		item, known := paths[rt.path].(object)
		if !known {
			item = object{}
			paths[rt.path] = item
		}
		item[strings.ToLower(rt.method)] = describeRoute(rt, types)
	}
	types.of(problem{}, false)
	return json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Coatcheck", "version": version, "license": object{"name": "Apache 2.0", "identifier": "Apache-2.0"},
			"description": "One sign-in opens one session. Cookies, access tokens and refresh tokens are drawn on it, and end with it.",
		},
		"servers": []object{{"url": issuer}},
		"tags":    sections(),
		"paths":   paths,
		"components": object{
			"schemas": types.named,
			"securitySchemes": object{
				"cookie": object{"type": "apiKey", "in": "cookie", "name": cookie, "description": "The session's cookie."},
				"token":  object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token of the first-party client for this server."},
				"client": object{"type": "http", "scheme": "basic", "description": "A client's id and secret. They may come in the form as well, or an assertion in their place; a client that keeps no secret sends its client_id alone."},
				"grant":  object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token of any client for this server, with the scope that is named."},
				"apiKey": object{"type": "http", "scheme": "bearer", "bearerFormat": "cka_…", "description": "An API key with the scope that is named."},
			},
		},
	})
}

// The sections that calls are read in, in their order.
const forAdministrators = "For administrators"

var sectionOf = map[class]string{
	api: "For applications", provider: "For clients", service: "For services", gateway: "For gateways", metadata: "For anyone", health: "For operators",
}

func sections() []object {
	var out []object
	for _, name := range []string{sectionOf[api], sectionOf[provider], sectionOf[service], sectionOf[gateway], forAdministrators, sectionOf[metadata], sectionOf[health]} {
		out = append(out, object{"name": name})
	}
	return out
}

// section groups calls for readers.
func section(rt *route) string {
	if strings.HasPrefix(rt.path, "/v1/admin/") {
		return forAdministrators
	}
	return sectionOf[rt.class]
}

func describeRoute(rt *route, types *schemas) object {
	operation := object{
		"operationId": operationID(rt), "summary": rt.summary, "tags": []string{section(rt)},
		"security": security(rt), "responses": describeAnswers(rt, types),
	}
	if parameters := describeParameters(rt); len(parameters) > 0 {
		operation["parameters"] = parameters
	}
	if rt.in != nil {
		body := object{"schema": types.of(rt.in, !rt.form)}
		content := object{rt.takes(): body}
		if rt.inMedia != "" {
			content["application/json"] = body // what every client can send
		}
		operation["requestBody"] = object{"required": !rt.bodyOptional, "content": content}
	}
	return operation
}

// takes returns the content type of the body.
func (rt *route) takes() string {
	switch {
	case rt.form:
		return "application/x-www-form-urlencoded"
	case rt.inMedia != "":
		return rt.inMedia
	}
	return "application/json"
}

// operationID is "getV1AdminUsersId": unique, since method and path are.
func operationID(rt *route) string {
	var b strings.Builder
	b.WriteString(strings.ToLower(rt.method))
	for word := range strings.FieldsFuncSeq(rt.path, func(r rune) bool { return r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func security(rt *route) []object {
	switch rt.who {
	case holder:
		return []object{{"cookie": []string{}}, {"token": []string{}}}
	case apiKey:
		return []object{{"apiKey": []string{rt.scope}}}
	case client:
		return []object{{"client": []string{}}, {}}
	case clientOrKey:
		return []object{{"apiKey": []string{rt.scope}}, {"client": []string{}}, {}}
	case grantee:
		return []object{{"grant": []string{rt.scope}}}
	}
	return []object{}
}

func describeParameters(rt *route) []object {
	var out []object
	add := func(in string, p parameter) {
		out = append(out, object{
			"name": p.name, "in": in, "description": p.about, "required": in == "path", "schema": object{"type": "string"},
		})
	}
	for part := range strings.SplitSeq(rt.path, "/") {
		if name, found := strings.CutPrefix(part, "{"); found {
			add("path", parameter{strings.TrimSuffix(name, "}"), "an id"})
		}
	}
	for _, p := range rt.query {
		add("query", p)
	}
	for _, p := range rt.headers {
		add("header", p)
	}
	return out
}

func describeAnswers(rt *route, types *schemas) object {
	answers := object{"default": describeRefusal(rt, types)}
	success := object{"description": http.StatusText(rt.status)}
	switch {
	case rt.stream:
		success["content"] = object{"text/event-stream": object{"schema": object{"type": "string"}}}
	case rt.out != nil:
		success["content"] = object{rt.gives(): object{"schema": types.of(rt.out, false)}}
	}
	if len(rt.answers) > 0 {
		headers := object{}
		for _, p := range rt.answers {
			headers[p.name] = object{"description": p.about, "schema": object{"type": "string"}}
		}
		success["headers"] = headers
	}
	answers[strconv.Itoa(rt.status)] = success
	for _, status := range rt.also {
		answers[strconv.Itoa(status)] = object{"description": http.StatusText(status)}
	}
	return answers
}

// describeRefusal describes the answers to what is refused.
func describeRefusal(rt *route, types *schemas) object {
	content, about := object{}, []string{}
	if rt.class != provider {
		about = append(about, "A problem (RFC 9457); its code is one of docs/faults.md.")
		content["application/problem+json"] = object{"schema": reference("Problem")}
	}
	if rt.class == provider || rt.who == clientOrKey {
		about = append(about, "To a client, an error of RFC 6749 §5.2.")
		content["application/json"] = object{"schema": types.of(oauthError{}, false)}
	}
	return object{"description": strings.Join(about, " "), "content": content}
}

// gives returns the content type of the answer.
func (rt *route) gives() string {
	if rt.outMedia != "" {
		return rt.outMedia
	}
	return "application/json"
}
