package web_test

import (
	"strings"
	"testing"

	"github.com/coatcheck/coatcheck/internal/account"
)

// withMail are the settings of a server where an address must be proven first.
var withMail = []string{"verify_email", "required"}

// code returns the code of the problem, or "" for a success.
func (r reply) code(t testing.TB) string {
	t.Helper()
	if r.status < 400 {
		return ""
	}
	return r.get(t, ".code")
}

// V-91: an account that a stranger prepared for an address is worth nothing once the
// address's owner has shown that they read its mail.
func TestPreHijack(t *testing.T) {
	t.Run("a sign-up for another's address", func(t *testing.T) {
		s := front(t, withMail...)
		own := s.origin.String()
		mailed, theirs := s.began(t, "ada@example.com") // by Eve
		// Ada finds the link in her mail. Her browser began nothing: she chooses the password.
		if got := s.ask(t, "POST", "/v1/email/verify", `{"token":"`+mailed.Token+`"}`).must(t, 422); got.get(t, ".errors[0].member") != "/password" {
			t.Errorf("the answer is %s", got.text)
		}
		s.ask(t, "POST", "/v1/email/verify", `{"token":"`+mailed.Token+`","password":"ada and all her horses"}`).must(t, 204)
		s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`).must(t, 401)
		s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"ada and all her horses"}`).must(t, 200)
		// Eve has her browser's cookie and no link that is good any more.
		if got := s.ask(t, "POST", "/v1/email/verify", `{"token":"`+mailed.Token+`"}`, "Cookie", theirs, "Origin", own).must(t, 401); len(got.cookies) > 0 {
			t.Error("she is given a cookie")
		}
	})
	t.Run("a sign-up beside the owner's", func(t *testing.T) {
		s := front(t, withMail...)
		own := s.origin.String()
		first, cookie := s.began(t, "ada@example.com")
		theirs, _ := s.began(t, "ada@example.com") // Eve, a moment later
		s.ask(t, "POST", "/v1/email/verify", `{"token":"`+first.Token+`"}`, "Cookie", cookie, "Origin", own).must(t, 201)
		if got := s.ask(t, "POST", "/v1/email/verify", `{"token":"`+theirs.Token+`","password":"eve and all her horses"}`); got.status == 204 || got.status == 201 {
			t.Errorf("the other link makes the account once more: %d", got.status)
		}
		s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`).must(t, 200)
	})
	t.Run("an account with an address that was never proven", func(t *testing.T) {
		s := front(t)
		own := s.origin.String()
		eve := s.signUpAs(t, "ada@example.com")
		s.mail(t, "ada@example.com")
		phone := s.phone(t, "ada@example.com")
		// She prepares a way back: the address is to become her own.
		s.ask(t, "POST", "/v1/user/email", `{"email":"eve@example.com","password":"`+goodPassword+`"}`, "Cookie", eve.cookie, "Origin", own).must(t, 202)
		back := s.mail(t, "eve@example.com")
		s.ask(t, "POST", "/v1/password/forgot", `{"email":"ada@example.com"}`).must(t, 202)
		mailed := s.mail(t, "ada@example.com")
		s.ask(t, "POST", "/v1/password/reset", `{"token":"`+mailed.Token+`","password":"ada and all her horses"}`).must(t, 204)
		for _, h := range []held{eve, phone} {
			for kind, code := range s.codes(t, h) {
				if code != "session_ended" {
					t.Errorf("her %s answers %q", kind, code)
				}
			}
		}
		if got := s.ask(t, "POST", "/v1/email/verify", `{"token":"`+back.Token+`"}`); got.code(t) != "link_over" {
			t.Errorf("the address is hers after all: %d %s", got.status, got.text)
		}
		s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"`+goodPassword+`"}`).must(t, 401)
		s.wait(1e9)
		if got := s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"ada and all her horses"}`).must(t, 200); got.get(t, ".user.email_verified") != "true" {
			t.Error("who reads the mail has not proven the address")
		}
	})
}

// CSRF-4: nobody is made to sign in as somebody else by a link. In the browser that
// began another sign-up, or none, it proves a mailbox and gives no cookie.
func TestLoginByAForeignLink(t *testing.T) {
	s := front(t, withMail...)
	own := s.origin.String()
	eves, planted := s.began(t, "eve@example.com")
	_, adas := s.began(t, "ada@example.com")
	body := `{"token":"` + eves.Token + `"}`
	for name, headers := range map[string][]string{
		"her own sign-up's cookie": {"Cookie", adas, "Origin", own, "Sec-Fetch-Site", "same-origin"},
		"no cookie":                {"Origin", own, "Sec-Fetch-Site", "same-origin"},
		"a cookie of no form":      {"Cookie", "coatcheck_dev_signup=x", "Origin", own},
		"an empty one":             {"Cookie", "coatcheck_dev_signup=", "Origin", own},
		"hers planted beside it":   {"Cookie", adas + "; " + planted, "Origin", own},
		"hers planted before it":   {"Cookie", planted + "; " + adas, "Origin", own},
	} {
		got := s.ask(t, "POST", "/v1/email/verify", body, headers...)
		if got.status != 422 || got.get(t, ".errors[0].member") != "/password" || len(got.cookies) > 0 {
			t.Errorf("%s: %d %v %s", name, got.status, got.header["Set-Cookie"], got.text)
		}
	}
	// Another site cannot make the browser say it, and neither can one that says nothing of itself.
	for name, headers := range map[string][]string{
		"a foreign origin":       {"Cookie", adas, "Origin", "https://evil.example"},
		"cross-site":             {"Cookie", adas, "Sec-Fetch-Site", "cross-site"},
		"nothing, with a cookie": {"Cookie", adas},
	} {
		if got := s.ask(t, "POST", "/v1/email/verify", body, headers...); got.status != 403 || got.get(t, ".code") != "cross_origin" {
			t.Errorf("%s: %d %s", name, got.status, got.text)
		}
	}
	// Whoever finishes it elsewhere, with a password of their own, is signed in nowhere.
	got := s.ask(t, "POST", "/v1/email/verify", `{"token":"`+eves.Token+`","password":"eve and all her horses"}`, "Cookie", adas, "Origin", own).must(t, 204)
	if len(got.cookies) > 0 {
		t.Errorf("a cookie is set: %v", got.header["Set-Cookie"])
	}
}

// V-87: what is not a POST spends nothing, however often and by whomever it is sent.
func TestScannersSpendNothing(t *testing.T) {
	s := front(t)
	admin := s.addKey(t, account.ScopeAdmin)
	ada := s.signUpAs(t, "ada@example.com")
	own := []string{"Cookie", ada.cookie, "Origin", s.origin.String()}
	verify := s.mail(t, "ada@example.com")
	s.ask(t, "POST", "/v1/password/forgot", `{"email":"ada@example.com"}`).must(t, 202)
	reset := s.mail(t, "ada@example.com")
	s.ask(t, "POST", "/v1/user/email", `{"email":"ada@new.example","password":"`+goodPassword+`"}`, own...).must(t, 202)
	move := s.mail(t, "ada@new.example")
	s.ask(t, "POST", "/v1/admin/invitations", `{"email":"bob@example.com"}`, "Authorization", "Bearer "+admin).must(t, 202)
	invited := s.mail(t, "bob@example.com")
	for _, l := range []letter{verify, reset, move, invited} {
		path := strings.TrimPrefix(l.Link, s.origin.String())
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "GET", "PUT", "DELETE", "PATCH"} {
			for _, agent := range []string{"", "Mozilla/5.0 (compatible; LinkScanner/1.0)"} {
				r := s.ask(t, method, path, "", "User-Agent", agent, "Accept", "text/html", "Purpose", "prefetch")
				if len(r.cookies) > 0 || r.status >= 500 {
					t.Errorf("%s %s: %d %v", method, l.Kind, r.status, r.header["Set-Cookie"])
				}
				if method == "GET" && r.status != 200 {
					t.Errorf("GET %s is %d", l.Kind, r.status)
				}
				for _, call := range []string{"/v1/email/verify", "/v1/password/reset", "/v1/sign-up"} {
					if got := s.ask(t, method, call+"?token="+l.Token, "", "User-Agent", agent); got.status < 400 {
						t.Errorf("%s %s is %d", method, call, got.status)
					}
				}
			}
		}
	}
	s.ask(t, "POST", "/v1/email/verify", `{"token":"`+verify.Token+`"}`).must(t, 204)
	s.ask(t, "POST", "/v1/email/verify", `{"token":"`+move.Token+`"}`).must(t, 204)
	s.ask(t, "POST", "/v1/sign-up", `{"email":"bob@example.com","password":"`+goodPassword+`","invitation":"`+invited.Token+`"}`).must(t, 201)
	s.ask(t, "POST", "/v1/password/forgot", `{"email":"ada@new.example"}`).must(t, 202)
	reset = s.mail(t, "ada@new.example")
	s.ask(t, "POST", "/v1/password/reset", `{"token":"`+reset.Token+`","password":"another horse battery"}`).must(t, 204)
}

// V-92: addresses that look alike are one account, and mail goes to the address that is
// stored, never to the one that was typed.
func TestMailGoesToTheStoredAddress(t *testing.T) {
	const stored = "Kim@example.com"
	for name, settings := range map[string][]string{"required": {"verify_email", "required"}, "optional": {"verify_email", "optional"}} {
		t.Run(name, func(t *testing.T) {
			s := front(t, settings...)
			admin := s.addKey(t, account.ScopeAdmin)
			s.ask(t, "POST", "/v1/admin/users", `{"email":"`+stored+`","password":"`+goodPassword+`","email_verified":true}`, "Authorization", "Bearer "+admin).must(t, 201)
			eve := s.ask(t, "POST", "/v1/admin/users", `{"email":"eve@example.com","password":"`+goodPassword+`"}`, "Authorization", "Bearer "+admin).must(t, 201)
			if eve.get(t, ".email") != "eve@example.com" {
				t.Fatal(eve.text)
			}
			h := s.signInAs(t, "eve@example.com")
			// The Kelvin sign, the dotless i, full width, another case, another form of "@" and of the domain.
			for _, typed := range []string{"\u212aim@example.com", "K\u0131m@example.com", "\uff2bim@example.com", "KIM@EXAMPLE.COM", "Kim\uff20example.com", "kim@\uff45xample.com"} {
				s.ask(t, "POST", "/v1/password/forgot", `{"email":"`+typed+`"}`).must(t, 202)
				signUp := s.ask(t, "POST", "/v1/sign-up", `{"email":"`+typed+`","password":"eve and all her horses"}`)
				if want := map[string]int{"required": 202, "optional": 409}[name]; signUp.status != want {
					t.Errorf("%q signs up: %d", typed, signUp.status)
				}
				s.ask(t, "POST", "/v1/user/email", `{"email":"`+typed+`","password":"`+goodPassword+`"}`, "Cookie", h.cookie, "Origin", s.origin.String()).must(t, 202)
				s.ask(t, "POST", "/v1/admin/invitations", `{"email":"`+typed+`"}`, "Authorization", "Bearer "+admin).must(t, 409)
				for _, l := range s.mails(t) {
					if l.To != stored && l.To != "eve@example.com" {
						t.Errorf("%q is written to at %q: %s", typed, l.To, l.Kind)
					}
					if l.To == "eve@example.com" && l.Link != "" {
						t.Errorf("%q brings eve a link: %s", typed, l.Kind)
					}
				}
				s.wait(3600e9) // or the limits of one mailbox would be tested
			}
		})
	}
}

// V-89: nobody says by a call that an address is theirs.
func TestNobodyVerifiesThemselves(t *testing.T) {
	s := front(t)
	own := s.origin.String()
	for _, member := range []string{`"email_verified":true`, `"verified":true`, `"roles":["admin"]`, `"Email_Verified":true`} {
		s.ask(t, "POST", "/v1/sign-up", `{"email":"ada@example.com","password":"`+goodPassword+`",`+member+`}`).must(t, 422)
	}
	ada := s.signUpAs(t, "ada@example.com")
	adas := s.mail(t, "ada@example.com")
	headers := []string{"Cookie", ada.cookie, "Origin", own}
	for _, body := range []string{`{"name":"Ada","email_verified":true}`, `{"name":"Ada","email":"eve@example.com"}`} {
		s.ask(t, "PATCH", "/v1/user", body, headers...).must(t, 422)
	}
	bob := s.signUpAs(t, "bob@example.com")
	s.mail(t, "bob@example.com")
	// Another person's proof, under one's own session, proves theirs.
	s.ask(t, "POST", "/v1/email/verify", `{"token":"`+adas.Token+`"}`, "Cookie", bob.cookie, "Origin", own).must(t, 204)
	if got := s.ask(t, "GET", "/v1/user", "", "Cookie", bob.cookie).must(t, 200); got.get(t, ".email_verified") != "false" {
		t.Error("another person's mail proves his address")
	}
	if got := s.ask(t, "GET", "/v1/user", "", "Cookie", ada.cookie).must(t, 200); got.get(t, ".email_verified") != "true" {
		t.Error("her own mail does not prove her address")
	}
	// Neither does a guess, or a link of another kind.
	s.ask(t, "POST", "/v1/password/forgot", `{"email":"bob@example.com"}`).must(t, 202)
	reset := s.mail(t, "bob@example.com")
	if got := s.ask(t, "POST", "/v1/email/verify", `{"token":"`+reset.Token+`"}`); got.code(t) != "link_over" {
		t.Errorf("a link to a new password proves an address: %d", got.status)
	}
	for _, code := range []string{"", "000000", "0", "1234567", "\\u0661\\u0662\\u0663\\u0664\\u0665\\u0666", " 123456 "} {
		if got := s.ask(t, "POST", "/v1/email/verify", `{"email":"bob@example.com","code":"`+code+`"}`); got.status != 401 && got.status != 422 && got.status != 429 {
			t.Errorf("the code %q is answered with %d", code, got.status)
		}
	}
	if got := s.ask(t, "GET", "/v1/user", "", "Cookie", bob.cookie).must(t, 200); got.get(t, ".email_verified") != "false" {
		t.Error("something proves his address")
	}
}

// ASVS-6.6.2: a code is guessed at five times. Then the right one is no better.
func TestCodesAreNotGuessed(t *testing.T) {
	s := front(t, withMail...)
	own := s.origin.String()
	mailed, cookie := s.began(t, "ada@example.com")
	wrong := "000000"
	if mailed.Code == wrong {
		wrong = "000001"
	}
	for range 5 {
		if got := s.ask(t, "POST", "/v1/email/verify", `{"email":"ada@example.com","code":"`+wrong+`"}`, "Cookie", cookie, "Origin", own); got.code(t) != "wrong_code" {
			t.Fatalf("%d %s", got.status, got.text)
		}
	}
	if got := s.ask(t, "POST", "/v1/email/verify", `{"email":"ada@example.com","code":"`+mailed.Code+`"}`, "Cookie", cookie, "Origin", own); got.status != 401 && got.status != 429 {
		t.Errorf("the right code after five wrong ones: %d", got.status)
	}
	// A code is for its own address.
	other, _ := s.began(t, "bob@example.com")
	if got := s.ask(t, "POST", "/v1/email/verify", `{"email":"carol@example.com","code":"`+other.Code+`","password":"`+goodPassword+`"}`); got.code(t) != "wrong_code" {
		t.Errorf("%d %s", got.status, got.text)
	}
}

// V-87: what was mailed to somebody is worth nothing once they are gone, or kept out.
func TestLinksEndWithTheirAccount(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, s *stage, admin, user string, h held){
		"deleted": func(t *testing.T, s *stage, _, _ string, h held) {
			s.ask(t, "DELETE", "/v1/user", `{"password":"`+goodPassword+`"}`, "Cookie", h.cookie, "Origin", s.origin.String()).must(t, 204)
		},
		"disabled": func(t *testing.T, s *stage, admin, user string, _ held) {
			s.ask(t, "PATCH", "/v1/admin/users/"+user, `{"disabled":true}`, "Authorization", "Bearer "+admin).must(t, 200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := front(t)
			admin := s.addKey(t, account.ScopeAdmin)
			in := s.ask(t, "POST", "/v1/sign-up", `{"email":"ada@example.com","password":"`+goodPassword+`"}`).must(t, 201)
			h := s.heldBy(t, in)
			verify := s.mail(t, "ada@example.com")
			s.ask(t, "POST", "/v1/password/forgot", `{"email":"ada@example.com"}`).must(t, 202)
			reset := s.mail(t, "ada@example.com")
			s.ask(t, "POST", "/v1/user/email", `{"email":"ada@new.example","password":"`+goodPassword+`"}`, "Cookie", h.cookie, "Origin", s.origin.String()).must(t, 202)
			move := s.mail(t, "ada@new.example")
			leave(t, s, admin, in.get(t, ".user.id"), h)
			for _, token := range []string{verify.Token, move.Token} {
				if got := s.ask(t, "POST", "/v1/email/verify", `{"token":"`+token+`"}`); got.code(t) != "link_over" {
					t.Errorf("%d %s", got.status, got.text)
				}
			}
			if got := s.ask(t, "POST", "/v1/password/reset", `{"token":"`+reset.Token+`","password":"another horse battery"}`); got.code(t) != "link_over" {
				t.Errorf("%d %s", got.status, got.text)
			}
			s.mails(t)
			s.ask(t, "POST", "/v1/password/forgot", `{"email":"ada@example.com"}`).must(t, 202)
			if late := s.mails(t); len(late) > 0 {
				t.Errorf("they are written to: %s", late[0].Kind)
			}
			s.ask(t, "POST", "/v1/sign-in", `{"email":"ada@example.com","password":"another horse battery"}`).must(t, 401)
		})
	}
}
