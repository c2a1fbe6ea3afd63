package web

import (
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/coatcheck/coatcheck/internal/mail"
)

// A printedView shows mails that were printed instead of sent.
type printedView struct {
	sheet
	Mails []printedMail
}

// A printedMail is one of them.
type printedMail struct {
	ID      string
	To      string
	Subject string
	Text    string
	Link    string // that it brings; empty: none
	Lang    string // BCP 47
	Date    time.Time
}

// printed returns the mails that were printed, newest first. Whoever reads them can
// open anybody's account, so they are for whoever sits at this machine: elsewhere, and
// where mails are sent, there is no such page.
func (s *Server) printed(x *exchange) ([]mail.Written, error) {
	from, err := netip.ParseAddr(x.from().IP)
	if s.Printer == nil || err != nil || !from.Unmap().IsLoopback() {
		return nil, errNotFound
	}
	return s.Printer.Mails(), nil
}

// getPrintedMails lists what people would have got, to whoever develops.
func (s *Server) getPrintedMails(x *exchange) error {
	mails, err := s.printed(x)
	if err != nil {
		return err
	}
	v := printedView{sheet: s.sheet(x, "dev_mail.title")}
	for _, m := range mails {
		v.Mails = append(v.Mails, printedMail{ID: m.ID, To: m.To, Subject: m.Subject, Text: m.Text, Link: m.Link, Lang: m.Language, Date: m.Date})
	}
	return s.show(x, http.StatusOK, "dev_mail", v)
}

// printedPolicy lets a mail be styled as it styles itself, and nothing else: it runs
// nothing, loads nothing, and is of no origin. What it links to may be opened.
const printedPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox allow-top-navigation-by-user-activation"

// getPrintedMail shows the HTML of one mail as a mail program would.
func (s *Server) getPrintedMail(x *exchange) error {
	mails, err := s.printed(x)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(mails, func(m mail.Written) bool { return m.ID == x.PathValue("id") })
	if i < 0 {
		return errNotFound
	}
	h := x.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", printedPolicy)
	h.Set("Cross-Origin-Opener-Policy", "unsafe-none") // browsers refuse any other in a sandbox (HTML §7.4.5)
	h.Set("Referrer-Policy", "no-referrer")
	x.WriteHeader(http.StatusOK)
	_, _ = x.Write([]byte(mails[i].HTML)) // the browser has gone: nobody is left to tell
	return nil
}
