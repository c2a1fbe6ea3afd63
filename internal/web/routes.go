package web

import (
	"net/http"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/oauth"
)

// class says which headers an answer bears, how an error looks, and which rules
// of the browser apply.
type class int

const (
	page     class = iota // HTML for people; cookies; errors are pages
	api                   // JSON for applications' front ends; cookies or tokens; CORS
	service               // JSON for services; API keys; no cookies
	provider              // forms in, JSON out, for clients (RFC 6749); no cookies; CORS
	gateway               // forward-auth: asked by proxies on behalf of browsers
	metadata              // public and cacheable: keys, discovery
	health                // probes: any host name
)

// who may call a route.
type who int

const (
	anyone      who = iota
	holder          // a session's cookie, or a first-party token for our own audience
	apiKey          // an API key with the route's scope
	client          // a client that shows who it is, or one that cannot and names itself
	clientOrKey     // a client that shows who it is, or an API key with the route's scope
	grantee         // an access token of any client for our own audience, with the route's scope
)

// A route is one row of the table: what is called, who may call it, and what the
// OpenAPI document says about it. Nothing is served that has no row.
type route struct {
	method  string
	path    string
	class   class
	who     who
	scope   string // of the API key or the access token
	handle  func(*Server, *exchange) error
	summary string
	in      any         // the body's type, for JSON and forms; nil: none
	form    bool        // the body is a form
	out     any         // the answer's type; nil: none
	status  int         // of success
	also    []int       // further statuses of success
	query   []parameter // beside the path's own
	headers []parameter // that the call reads
	answers []parameter // headers that a success bears
	stream  bool        // the answer is a stream of events

	inMedia      string // the body's content type, where it is not plain JSON or a form
	outMedia     string // the answer's, where it is not plain JSON
	bodyOptional bool   // the call may come without its body
	foreign      bool   // forms of other sites may call it: it reads and sets no cookie
}

// A parameter is one member of a query, or a header.
type parameter struct{ name, about string }

var (
	versioned  = []parameter{{"ETag", "the version of the document"}}
	matched    = []parameter{{"If-Match", "the ETag of the version that this replaces, or * for any"}}
	repeatable = []parameter{{"Idempotency-Key", "22 to 255 URL-safe characters: with the same one, a retry of a refresh gets the same successor"}}
	returning  = []parameter{{"return_to", "where to go afterwards"}}
	mailed     = []parameter{{"token", "of the mailed link"}}
)

// routes is every address there is.
var routes = []route{
	// For applications' front ends.
	{method: "POST", path: "/v1/sign-up", class: api, handle: (*Server).postSignUp, summary: "Make an account and sign in, or mail what makes it once the address is proven", in: signUpRequest{}, out: signedIn{}, status: http.StatusCreated, also: []int{http.StatusAccepted}},
	{method: "POST", path: "/v1/email/verify", class: api, handle: (*Server).postVerification, summary: "Prove an address by the token or the code of a mail; where a sign-up began in this browser, sign in", in: verificationRequest{}, out: signedIn{}, status: http.StatusCreated, also: []int{http.StatusNoContent}},
	{method: "POST", path: "/v1/email/verification", class: api, who: holder, handle: (*Server).postVerificationMail, summary: "Mail once more what proves one's address", status: http.StatusAccepted},
	{method: "POST", path: "/v1/password/forgot", class: api, handle: (*Server).postForgot, summary: "Mail a link to a new password, if there is such an account", in: forgotRequest{}, status: http.StatusAccepted},
	{method: "POST", path: "/v1/password/reset", class: api, handle: (*Server).postReset, summary: "Set a new password by the token of a mail, and end all sessions", in: resetRequest{}, status: http.StatusNoContent},
	{method: "POST", path: "/v1/sign-in", class: api, handle: (*Server).postSignIn, summary: "Sign in by email and password", in: signInRequest{}, out: signedIn{}, status: http.StatusOK},
	{method: "POST", path: "/v1/sign-out", class: api, handle: (*Server).postSignOut, summary: "End the session behind the credential", status: http.StatusNoContent},
	{
		method: "POST", path: "/v1/token/refresh", class: api, handle: (*Server).postRefresh, summary: "Exchange a refresh token for its successor and an access token", in: refreshRequest{}, bodyOptional: true, out: refreshed{}, status: http.StatusOK,
		headers: repeatable,
	},
	{method: "GET", path: "/v1/session", class: api, who: holder, handle: (*Server).getSession, summary: "Who is signed in", out: signedInAs{}, status: http.StatusOK},
	{method: "POST", path: "/v1/session/token", class: api, who: holder, handle: (*Server).postSessionToken, summary: "Draw an access token on the cookie's session", in: drawRequest{}, bodyOptional: true, out: tokens{}, status: http.StatusOK},
	{method: "POST", path: "/v1/session/reauthenticate", class: api, who: holder, handle: (*Server).postReauthenticate, summary: "Prove again who is signed in: same session, new secret", in: passwordRequest{}, out: signedIn{}, status: http.StatusOK},
	{method: "GET", path: "/v1/session/data", class: api, who: holder, handle: (*Server).getAttachment, summary: "The application's own JSON beside the session", out: []byte{}, answers: versioned, status: http.StatusOK},
	{method: "PUT", path: "/v1/session/data", class: api, who: holder, handle: (*Server).putAttachment, summary: "Replace the application's JSON", in: []byte{}, headers: matched, answers: versioned, status: http.StatusNoContent},
	{method: "PATCH", path: "/v1/session/data", class: api, who: holder, handle: (*Server).patchAttachment, summary: "Change the application's JSON by a merge patch (RFC 7396)", in: []byte{}, inMedia: mergePatch, headers: matched, out: []byte{}, answers: versioned, status: http.StatusOK},
	{method: "GET", path: "/v1/sessions", class: api, who: holder, handle: (*Server).listSessions, summary: "List one's own live sessions, newest first", out: list[ownSession]{}, status: http.StatusOK, query: paging},
	{
		method: "DELETE", path: "/v1/sessions", class: api, who: holder, handle: (*Server).endOtherSessions, summary: "End all of one's sessions but the one that asks", status: http.StatusNoContent,
		query: []parameter{{"except", "current, and nothing else"}},
	},
	{method: "DELETE", path: "/v1/sessions/{id}", class: api, who: holder, handle: (*Server).endSession, summary: "End one of one's own sessions", status: http.StatusNoContent},
	{method: "GET", path: "/v1/applications", class: api, who: holder, handle: (*Server).listApplications, summary: "List the applications that one has connected, the one that was used last first", out: list[connectedApplication]{}, status: http.StatusOK},
	{method: "DELETE", path: "/v1/applications/{id}", class: api, who: holder, handle: (*Server).disconnectApplication, summary: "Disconnect an application: end its grants and its own sessions, and take one's consent back", status: http.StatusNoContent},
	{method: "GET", path: "/v1/user", class: api, who: holder, handle: (*Server).getUser, summary: "One's own profile", out: user{}, status: http.StatusOK},
	{method: "PATCH", path: "/v1/user", class: api, who: holder, handle: (*Server).patchUser, summary: "Change one's name", in: profileRequest{}, out: user{}, status: http.StatusOK},
	{method: "DELETE", path: "/v1/user", class: api, who: holder, handle: (*Server).deleteUser, summary: "Remove one's account with all that is in it", in: passwordRequest{}, status: http.StatusNoContent},
	{method: "POST", path: "/v1/user/password", class: api, who: holder, handle: (*Server).postPassword, summary: "Change one's password", in: newPasswordRequest{}, status: http.StatusNoContent},
	{method: "POST", path: "/v1/user/email", class: api, who: holder, handle: (*Server).postEmail, summary: "Ask for another address, which is one's own once its mailbox has answered", in: emailRequest{}, status: http.StatusAccepted},
	{method: "GET", path: "/v1/user/activity", class: api, who: holder, handle: (*Server).listActivity, summary: "What happened to one's own account, newest first", out: list[activity]{}, status: http.StatusOK, query: paging},
	{method: "GET", path: "/v1/user/export", class: api, who: holder, handle: (*Server).getExport, summary: "All that is kept about oneself", out: export{}, status: http.StatusOK},

	// For people.
	{method: "GET", path: "/{$}", class: page, handle: (*Server).getRoot, summary: "Onwards", status: http.StatusSeeOther},
	{method: "GET", path: "/sign-in", class: page, handle: (*Server).getSignInPage, summary: "Sign in", status: http.StatusOK, also: []int{http.StatusSeeOther}, query: returning},
	{method: "POST", path: "/sign-in", class: page, handle: (*Server).submitSignIn, summary: "Sign in", status: http.StatusSeeOther},
	{method: "GET", path: "/sign-up", class: page, handle: (*Server).getSignUpPage, summary: "Create an account", status: http.StatusOK, also: []int{http.StatusSeeOther}, query: append([]parameter{{"invitation", "the token of a mailed invitation"}}, returning...)},
	{method: "POST", path: "/sign-up", class: page, handle: (*Server).submitSignUp, summary: "Create an account", status: http.StatusSeeOther, also: []int{http.StatusAccepted}},
	{method: "GET", path: "/verify", class: page, handle: (*Server).getVerify, summary: "Prove an address", status: http.StatusOK, query: mailed},
	{method: "POST", path: "/verify", class: page, handle: (*Server).submitVerify, summary: "Prove an address", status: http.StatusSeeOther, also: []int{http.StatusOK}},
	{method: "GET", path: "/verified", class: page, handle: (*Server).getVerified, summary: "The address is proven", status: http.StatusOK},
	{method: "GET", path: "/forgot", class: page, handle: (*Server).getForgot, summary: "Ask for a new password", status: http.StatusOK},
	{method: "POST", path: "/forgot", class: page, handle: (*Server).submitForgot, summary: "Ask for a new password", status: http.StatusSeeOther},
	{method: "GET", path: "/reset", class: page, handle: (*Server).getReset, summary: "Choose a new password", status: http.StatusOK, query: mailed},
	{method: "POST", path: "/reset", class: page, handle: (*Server).submitReset, summary: "Choose a new password", status: http.StatusSeeOther},
	{method: "POST", path: "/sign-out", class: page, handle: (*Server).submitSignOut, summary: "Sign out", status: http.StatusSeeOther},
	{method: "GET", path: "/signed-out", class: page, handle: (*Server).getSignedOut, summary: "It is done", status: http.StatusOK},
	{method: "GET", path: "/accounts", class: page, handle: (*Server).getAccounts, summary: "Choose one of the accounts that are signed in in this browser", status: http.StatusOK, also: []int{http.StatusSeeOther}, query: returning},
	{method: "POST", path: "/accounts/choose", class: page, handle: (*Server).submitChoice, summary: "Use another account of this browser", status: http.StatusSeeOther},
	{method: "POST", path: "/accounts/sign-out", class: page, handle: (*Server).submitAccountSignOut, summary: "Sign one account out of this browser", status: http.StatusSeeOther},
	{method: "POST", path: "/accounts/sign-out-all", class: page, handle: (*Server).submitSignOutAll, summary: "Sign all accounts out of this browser", status: http.StatusSeeOther},
	{method: "GET", path: "/account", class: page, who: holder, handle: (*Server).getAccount, summary: "Profile, devices and security activity", status: http.StatusOK},
	{method: "POST", path: "/account/name", class: page, who: holder, handle: (*Server).submitName, summary: "Change the name", status: http.StatusSeeOther},
	{method: "POST", path: "/account/email", class: page, who: holder, handle: (*Server).submitEmail, summary: "Ask for another address", status: http.StatusSeeOther},
	{method: "POST", path: "/account/verification", class: page, who: holder, handle: (*Server).submitVerification, summary: "Mail the proof of the address once more", status: http.StatusSeeOther},
	{method: "POST", path: "/account/delete", class: page, who: holder, handle: (*Server).submitDelete, summary: "Remove the account", status: http.StatusSeeOther},
	{method: "GET", path: "/account/export", class: page, who: holder, handle: (*Server).getExport, summary: "Download one's data", status: http.StatusOK},
	{method: "POST", path: "/account/password", class: page, who: holder, handle: (*Server).submitPassword, summary: "Change the password", status: http.StatusSeeOther},
	{method: "POST", path: "/account/sessions/end-others", class: page, who: holder, handle: (*Server).submitEndOthers, summary: "End all other sessions", status: http.StatusSeeOther},
	{method: "POST", path: "/account/sessions/{id}/end", class: page, who: holder, handle: (*Server).submitEnd, summary: "End a session", status: http.StatusSeeOther},
	{method: "POST", path: "/account/applications/{id}/disconnect", class: page, who: holder, handle: (*Server).submitDisconnect, summary: "Disconnect an application", status: http.StatusSeeOther},
	{method: "GET", path: "/setup", class: page, handle: (*Server).getSetup, summary: "First administrator", status: http.StatusOK, query: []parameter{{"token", "of the link that the first start prints"}}},
	{method: "POST", path: "/setup", class: page, handle: (*Server).submitSetup, summary: "First administrator", status: http.StatusSeeOther},
	{method: "GET", path: "/.well-known/change-password", class: page, handle: (*Server).getChangePassword, summary: "Where to change a password", status: http.StatusSeeOther},
	{method: "GET", path: "/dev/mail", class: page, handle: (*Server).getPrintedMails, summary: "Mails that were printed instead of sent, where somebody develops", status: http.StatusOK},
	{method: "GET", path: "/dev/mail/{id}", class: page, handle: (*Server).getPrintedMail, summary: "One of them as HTML", status: http.StatusOK},
	{method: "GET", path: "/static/style.css", class: page, handle: (*Server).getStyle, summary: "The stylesheet", status: http.StatusOK, also: []int{http.StatusNotModified}},
	{method: "GET", path: "/static/logo", class: page, handle: (*Server).getLogo, summary: "The operator's logo", status: http.StatusOK, also: []int{http.StatusNotModified}},
	{method: "GET", path: "/static/icon.svg", class: page, handle: (*Server).getIcon, summary: "The icon", status: http.StatusOK, also: []int{http.StatusNotModified}},

	// For services and gateways.
	{method: "GET", path: "/.well-known/jwks.json", class: metadata, handle: (*Server).getKeys, summary: "Public keys (RFC 7517)", out: keySet{}, outMedia: "application/jwk-set+json", status: http.StatusOK, also: []int{http.StatusNotModified}},
	{method: "GET", path: "/.well-known/oauth-authorization-server", class: metadata, handle: (*Server).getMetadata, summary: "Metadata of the server (RFC 8414)", out: metadataDocument{}, status: http.StatusOK, also: []int{http.StatusNotModified}},
	{method: "GET", path: "/.well-known/openid-configuration", class: metadata, handle: (*Server).getMetadata, summary: "The same, as OpenID Connect Discovery has it", out: metadataDocument{}, status: http.StatusOK, also: []int{http.StatusNotModified}},
	{method: "POST", path: "/oauth2/introspect", class: service, who: clientOrKey, scope: account.ScopeIntrospect, handle: (*Server).postIntrospect, summary: "What a credential is worth (RFC 7662)", in: introspectRequest{}, form: true, out: introspection{}, status: http.StatusOK},
	{
		method: "GET", path: "/v1/revocations", class: service, who: apiKey, scope: account.ScopeRevocations, handle: (*Server).getRevocations, summary: "The revocation stream", status: http.StatusOK, stream: true,
		headers: []parameter{{"Last-Event-ID", "the id of the last event that was read: the stream goes on after it"}},
	},
	{
		method: "GET", path: "/v1/forward-auth", class: gateway, handle: (*Server).getForwardAuth, summary: "Who sends a request that a proxy is about to pass on", status: http.StatusOK, also: []int{http.StatusFound}, answers: vouched,
		query: []parameter{{"redirect", "1 answers 302 instead of 401, for proxies that pass it on"}}, headers: forwarded,
	},
	{method: "GET", path: "/healthz", class: health, handle: (*Server).getHealth, summary: "Whether the process is alive", out: probe{}, status: http.StatusOK},
	{method: "GET", path: "/readyz", class: health, handle: (*Server).getReady, summary: "Whether this node may be sent requests", out: probe{}, status: http.StatusOK},
	{method: "GET", path: "/openapi.json", class: metadata, handle: (*Server).getOpenAPI, summary: "This document (OpenAPI 3.1)", out: object{}, status: http.StatusOK, also: []int{http.StatusNotModified}},
	{method: "GET", path: "/docs", class: page, handle: (*Server).getDocs, summary: "A page to read and try all calls", status: http.StatusOK},
	{method: "GET", path: "/docs/{file}", class: page, handle: (*Server).getDocsFile, summary: "Its script and style sheet", status: http.StatusOK},

	{method: "GET", path: authorizePath, class: page, handle: (*Server).getAuthorize, summary: "Ask a person for a code, for a client (RFC 6749)", status: http.StatusSeeOther, also: []int{http.StatusOK}, query: authorization},
	{method: "POST", path: authorizePath, class: page, foreign: true, handle: (*Server).postAuthorize, summary: "The same, by a form", status: http.StatusSeeOther, also: []int{http.StatusOK}},
	{method: "GET", path: "/consent", class: page, handle: (*Server).getConsent, summary: "What an application asks for", status: http.StatusOK, also: []int{http.StatusSeeOther}},
	{method: "POST", path: "/consent", class: page, handle: (*Server).submitConsent, summary: "Allow it, or not", status: http.StatusSeeOther, also: []int{http.StatusOK}},

	{method: "GET", path: logoutPath, class: page, handle: (*Server).getLogout, summary: "Sign out because an application asks for it (OpenID Connect RP-Initiated Logout)", status: http.StatusSeeOther, also: []int{http.StatusOK}, query: loggingOut},
	{method: "POST", path: logoutPath, class: page, foreign: true, handle: (*Server).postLogout, summary: "The same, by a form", status: http.StatusSeeOther},
	{method: "POST", path: logoutConfirmPath, class: page, handle: (*Server).submitLogout, summary: "Sign out when asked", status: http.StatusSeeOther},

	// For clients (OAuth 2.1, OpenID Connect).
	{method: "POST", path: "/oauth2/token", class: provider, who: client, handle: (*Server).postToken, summary: "Exchange a code or a refresh token for tokens, or draw one for the client itself (RFC 6749)", in: tokenRequest{}, form: true, out: tokenAnswer{}, status: http.StatusOK, headers: repeatable},
	{method: "POST", path: "/oauth2/revoke", class: provider, who: client, handle: (*Server).postRevocation, summary: "End what a token was drawn on (RFC 7009)", in: revokeRequest{}, form: true, status: http.StatusOK},
	{method: "GET", path: "/oauth2/userinfo", class: provider, who: grantee, scope: oauth.ScopeOpenID, handle: (*Server).userInfoOf, summary: "Who it is that a client acts for (OpenID Connect Core)", out: userInfo{}, status: http.StatusOK},
	{method: "POST", path: "/oauth2/userinfo", class: provider, who: grantee, scope: oauth.ScopeOpenID, handle: (*Server).userInfoOf, summary: "The same, where the token may come in the body", in: userInfoRequest{}, form: true, bodyOptional: true, out: userInfo{}, status: http.StatusOK},

	// For administrators, by API key.
	{method: "GET", path: "/v1/admin/users", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).listUsers, summary: "List the users, oldest first", out: list[adminUser]{}, status: http.StatusOK, query: append([]parameter{{"email", "only the one with this email, in any spelling"}}, paging...)},
	{method: "POST", path: "/v1/admin/users", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).addUser, summary: "Add a user", in: newUserRequest{}, out: adminUser{}, status: http.StatusCreated},
	{method: "GET", path: "/v1/admin/users/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).getUserByID, summary: "One user", out: adminUser{}, status: http.StatusOK},
	{method: "PATCH", path: "/v1/admin/users/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).patchUserByID, summary: "Change a user", in: userChangeRequest{}, out: adminUser{}, status: http.StatusOK},
	{method: "DELETE", path: "/v1/admin/users/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).deleteUserByID, summary: "Remove a user with all that was theirs", status: http.StatusNoContent},
	{method: "POST", path: "/v1/admin/invitations", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).postInvitation, summary: "Mail somebody a link that makes their account", in: invitationRequest{}, out: invitation{}, status: http.StatusAccepted},
	{method: "GET", path: "/v1/admin/users/{id}/sessions", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).listUserSessions, summary: "List the live sessions of a user, newest first", out: list[adminSession]{}, status: http.StatusOK, query: paging},
	{method: "DELETE", path: "/v1/admin/users/{id}/sessions", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).endUserSessions, summary: "End all sessions of a user", status: http.StatusNoContent},
	{method: "GET", path: "/v1/admin/sessions/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).getSessionByID, summary: "One live session", out: adminSession{}, status: http.StatusOK},
	{method: "DELETE", path: "/v1/admin/sessions/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).endSessionByID, summary: "End a session and all that was drawn on it", status: http.StatusNoContent},
	{method: "GET", path: "/v1/admin/audit", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).listAudit, summary: "List what happened, newest first", out: list[auditEntry]{}, status: http.StatusOK, query: append([]parameter{{"user", "only what concerns this user"}, {"event", "only events of this name"}}, paging...)},
	{method: "GET", path: "/v1/admin/clients", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).listClients, summary: "List the clients, oldest first", out: list[oauth.Description]{}, status: http.StatusOK, query: paging},
	{method: "POST", path: "/v1/admin/clients", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).addClient, summary: "Register a client, whose secret is shown this once", in: newClientRequest{}, out: clientWithSecret{}, status: http.StatusCreated},
	{method: "GET", path: "/v1/admin/clients/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).getClientByID, summary: "One client", out: oauth.Description{}, status: http.StatusOK},
	{method: "PATCH", path: "/v1/admin/clients/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).patchClientByID, summary: "Change a client", in: clientChangeRequest{}, out: clientWithSecret{}, status: http.StatusOK},
	{method: "DELETE", path: "/v1/admin/clients/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).deleteClientByID, summary: "Remove a client and end all that it drew", status: http.StatusNoContent},
	{method: "POST", path: "/v1/admin/clients/{id}/secret", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).postClientSecret, summary: "Give a client another secret; the one before is dead", out: freshSecret{}, status: http.StatusOK},
	{method: "GET", path: "/v1/admin/apikeys", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).listAPIKeys, summary: "List the API keys", out: list[apiKeyView]{}, status: http.StatusOK},
	{method: "POST", path: "/v1/admin/apikeys", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).postAPIKey, summary: "Make an API key, which is shown this once", in: newAPIKeyRequest{}, out: newAPIKey{}, status: http.StatusCreated},
	{method: "DELETE", path: "/v1/admin/apikeys/{id}", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).deleteAPIKey, summary: "Remove an API key and cut its streams", status: http.StatusNoContent},
	{method: "GET", path: "/v1/admin/keys", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).listKeys, summary: "List the signing keys, oldest first", out: list[signingKey]{}, status: http.StatusOK},
	{method: "POST", path: "/v1/admin/keys/rotate", class: service, who: apiKey, scope: account.ScopeAdmin, handle: (*Server).postRotation, summary: "Let the next signing key sign", in: rotationRequest{}, out: rotation{}, status: http.StatusOK},
}
