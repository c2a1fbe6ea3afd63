package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/catalogue"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/session"
)

// A sample is a page with data made up for it.
type sample struct {
	name string // of the page
	view interface{ language() string }
}

// samples are all pages: each with everything on it that may be there, and with as
// little as may be. They are written once at the start, to find mistakes in an
// operator's templates.
func (s *Server) samples(words *catalogue.Language) []sample {
	bare := func(title string) sheet { return s.blank(words, title) }
	full := func(title string) sheet {
		v := s.blank(words, title)
		v.Mistaken, v.Mail, v.Printed, v.Logo, v.ReturnTo, v.Terms = true, true, true, "/static/logo", "/account", "https://example.com/terms"
		v.Links = []footLink{{"https://example.com/terms", "page.terms"}, {"mailto:help@example.com", "page.help"}}
		v.Person = &session.Person{ID: "usr_1", Email: "ada@example.com", Name: "Ada", CreatedAt: s.Now()}
		return v
	}
	out := []sample{
		{"sign_in", signInView{sheet: bare("sign_in.title"), Form: formOf(nil)}},
		{"sign_in", signInView{sheet: full("sign_in.title"), Form: everythingWrong(), Done: "Done.", Open: true}},
		{"sign_up", signInView{sheet: bare("sign_up.title"), Form: formOf(nil)}},
		{"sign_up", signInView{sheet: full("sign_up.title"), Form: everythingWrong(), Open: true}},
		{"sign_up", signInView{sheet: full("sign_up.title"), Form: everythingWrong(), Invitation: "ckl_token"}},
		{"check_mail", signInView{sheet: bare("check_mail.title"), Form: formOf(nil)}},
		{"check_mail", signInView{sheet: full("check_mail.title"), Form: everythingWrong()}},
		{"verify", verifyView{sheet: bare("verify.code_title"), Form: formOf(nil), Text: "Text", Submit: "Go"}},
		{"verify", verifyView{sheet: bare("verify.code_title"), Form: everythingWrong(), Text: "Text", Submit: "Go", Open: true}},
		{"verify", verifyView{sheet: full("verify.code_title"), Form: everythingWrong(), Text: "Text", Submit: "Go"}},
		{"verify", verifyView{sheet: full("verify.code_title"), Form: everythingWrong(), Text: "Text", Submit: "Go", Choose: true, Email: "ada@example.com"}},
		{"verify", verifyView{sheet: bare("verify.verify_title"), Form: formOf(nil), Text: "Text", Submit: "Go", Token: "ckl_token", Email: "ada@example.com"}},
		{"verify", verifyView{sheet: full("verify.sign_up_title"), Form: everythingWrong(), Text: "Text", Submit: "Go", Token: "ckl_token", Email: "ada@example.com", Choose: true}},
		{"verified", doneView{sheet: bare("verify.done_title"), Text: "Text"}},
		{"verified", doneView{sheet: full("verify.changed_title"), Text: "Text"}},
		{"forgot", forgotView{sheet: bare("forgot.title"), Form: formOf(nil)}},
		{"forgot", forgotView{sheet: full("forgot.title"), Form: everythingWrong()}},
		{"forgot_sent", forgotView{sheet: bare("forgot.sent_title"), Form: formOf(nil)}},
		{"reset", resetView{sheet: bare("reset.title"), Form: formOf(nil)}},
		{"reset", resetView{sheet: full("reset.title"), Form: everythingWrong(), Token: "ckl_token", Email: "ada@example.com"}},
		{"accounts", accountsView{sheet: bare("accounts.title")}},
		{"accounts", accountsView{sheet: full("accounts.title"), Accounts: people(), Over: true, Add: true}},
		{"sign_in", signInView{sheet: full("sign_in.title"), Form: formOf(nil), Open: true, Prompt: promptLogin}},
		{"sign_up", signInView{sheet: full("sign_up.title"), Form: formOf(nil), Open: true, Prompt: promptLogin}},
		{"signed_out", signedOutView{sheet: full("signed_out.title"), Others: people()}},
		{"consent", consentView{sheet: bare("consent.title"), Continue: "x", Others: "/accounts"}},
		{"consent", consentView{sheet: full("consent.title"), Continue: "x", Others: "/accounts", Host: "shop.example", Unsure: true, Asks: []permission{{"recognise you", "openid"}, {"", "orders:read"}}, Audience: "orders", Until: s.Now(), Offline: true, Policy: "https://shop.example/privacy", Rules: "https://shop.example/terms"}},
		{"form_post", formPostView{sheet: bare("form_post.title"), To: "https://shop.example/callback", Nonce: "x"}},
		{"form_post", formPostView{sheet: full("form_post.title"), To: "https://shop.example/callback", Parameters: []oauth.Parameter{{Name: "code", Value: "x"}}, Host: "shop.example", Nonce: "x"}},
		{"logout", logoutView{sheet: bare("logout.title"), Account: "usr_1"}},
		{"logout", logoutView{sheet: full("logout.title"), Account: "usr_1", Client: "cli_1", URI: "https://shop.example/", State: "x"}},
		{"setup", setupView{sheet: bare("setup.title"), Form: formOf(nil)}},
		{"setup", setupView{sheet: full("setup.title"), Form: everythingWrong(), Token: "token"}},
		{"signed_out", signedOutView{sheet: bare("signed_out.title")}},
		{"signed_out", signedOutView{sheet: full("signed_out.deleted_title"), Deleted: true}},
		{"dev_mail", printedView{sheet: bare("dev_mail.title")}},
		{"dev_mail", printedView{sheet: full("dev_mail.title"), Mails: []printedMail{{ID: "id", To: "ada@example.com", Subject: "Subject", Text: "Text", Link: "http://localhost/verify", Lang: "en", Date: s.Now()}}}},
		{"error", errorView{sheet: bare("advice.internal.title"), Status: http.StatusInternalServerError, Sentence: "Text", Advice: "Text", Request: "id"}},
		{"error", errorView{sheet: full("advice.not_found.title"), Status: http.StatusNotFound, Sentence: "Text", Advice: "Text", Way: &way{home, "Go"}, Request: "id"}},
	}
	return append(out, s.accountSamples(bare, full)...)
}

func (s *Server) accountSamples(bare, full func(string) sheet) []sample {
	now := s.Now()
	here := ownSession{ID: "ses_1", Device: "Firefox on Windows", Current: true, IP: "192.0.2.1", Place: "Berlin, Germany", CreatedAt: now, LastSeenAt: now}
	phone := ownSession{ID: "ses_2", Device: "Safari on iPhone", IP: "192.0.2.2", CreatedAt: now.Add(-time.Hour), LastSeenAt: now}
	program := ownSession{ID: "ses_3", Device: "curl", IP: "192.0.2.3", CreatedAt: now.Add(-time.Hour), LastSeenAt: now}
	some := []activity{
		{Key: "signed_in", At: now, Device: "Firefox on Windows", IP: "192.0.2.1", Place: "Berlin, Germany", Current: true},
		{Key: "password_changed_by_administrator", At: now},
		{Key: "application_signed_in", At: now, Client: "Shop"},
	}
	everything := accountView{
		sheet: full("account.title"), Done: "Done.", Pending: true, AskPassword: true,
		Sessions: []ownSession{here, phone, program}, Others: true, Older: "cursor=x", Recent: some, Earlier: slices.Clone(some), OlderActivity: "activity=x",
		Applications: []connectedApplication{
			{ID: "cli_1", Name: "Shop", HomeURI: "https://shop.example/", Since: now, LastUsedAt: now, Offline: true, Audiences: []string{"orders"}, May: []permission{{Text: "see your name", Name: "profile"}, {Name: "orders:read"}}},
			{ID: "cli_2", Name: "Notes", Since: now},
		},
		Trouble: everythingWrong(), Profile: everythingWrong(), Email: everythingWrong(), Password: everythingWrong(), Delete: everythingWrong(),
	}
	nothing := newAccountView()
	nothing.sheet = bare("account.title")
	nothing.Person = &session.Person{ID: "usr_1", Email: "ada@example.com", EmailVerified: true, CreatedAt: now}
	quiet := nothing
	quiet.Mail, quiet.Sessions, quiet.Recent = true, []ownSession{here}, some
	return []sample{{"account", everything}, {"account", nothing}, {"account", quiet}}
}

// people are two accounts of one browser.
func people() []choice {
	return []choice{
		{ID: "usr_1", Name: "Ada", Email: "ada@example.com", Initial: "A", Current: true},
		{ID: "usr_2", Email: "bob@example.com", Initial: "B"},
	}
}

// everythingWrong is a form with every field filled in and every field wrong.
func everythingWrong() form {
	f := formOf(nil)
	f.Wrong[""] = "Everything is wrong."
	for _, name := range []string{"email", "name", "code", "remember", "password", "current_password", "new_password"} {
		f.Values[name], f.Wrong[name] = "value", "It is wrong."
	}
	return f
}
