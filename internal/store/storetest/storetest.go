// Package storetest holds the promises that every store keeps. Each is a subtest
// named by the sentence of the Store interface that makes it, and a sentence
// without a proof fails this package's own test.
//
// It says what a store must do, never how: a new store needs one test that calls
// [Run], and is given a fresh, empty store for each proof.
package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/coatcheck/coatcheck/internal/account"
	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/feed"
	"github.com/coatcheck/coatcheck/internal/keyring"
	"github.com/coatcheck/coatcheck/internal/mail"
	"github.com/coatcheck/coatcheck/internal/oauth"
	"github.com/coatcheck/coatcheck/internal/revocation"
	"github.com/coatcheck/coatcheck/internal/session"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// Stores are the faces of one store: what any of them writes, all of them read.
type Stores struct {
	Revocation  revocation.Store
	Keys        keyring.Store
	Users       account.Store
	Setup       account.SetupStore
	APIKeys     account.APIKeyStore
	Links       account.LinkStore
	Sessions    session.Store
	Upkeep      session.UpkeepStore
	Attachments session.AttachmentStore
	History     session.HistoryStore
	Codes       session.CodeStore
	Audit       audit.Store
	Mail        mail.Store
	Notices     oauth.NoticeStore
	Recipients  mail.RecipientStore
	Throttle    throttle.Store
	Clients     oauth.ClientStore
	Assertions  oauth.AssertionStore
	Consents    oauth.ConsentStore

	// Fail arms a break, in the place of one that was armed before. What it returns
	// disarms it and says what came of it. The break fails with [ErrBroken].
	Fail func(Break) func() Broken
	// Rows returns every row of every table, in any order.
	Rows func(t *testing.T) []Row
}

// Open makes a fresh, empty store, which is closed when t ends. now is its clock,
// and is called from many goroutines. heard is to be given the entries of each
// commit, after the commit and before the step is answered.
type Open func(t *testing.T, now func() time.Time, heard func([]feed.Entry)) Stores

// A promise is one sentence of an interface, word for word, with its proofs.
type promise struct {
	method   string // "package.Interface.Method", or "package.Interface" for what holds of all of it
	sentence string
	proofs   []proof
}

// A proof shows one thing that a sentence says.
type proof struct {
	name  string
	prove func(t *testing.T, f *fixture)
}

// promises returns all there are.
func promises() []promise {
	return slices.Concat(
		revocationPromises, keyringPromises, auditPromises,
		userPromises, userChangePromises, setupPromises, apiKeyPromises, linkPromises, linkSpendPromises,
		sessionPromises, codePromises, redeemPromises, rotatePromises, renewPromises, endPromises, listPromises,
		upkeepPromises, attachmentPromises, outboxPromises, noticePromises, logoutPromises, logoutSendPromises, throttlePromises, clientPromises, consentPromises, brokenPromises,
	)
}

// Run shows that the stores that open makes keep every promise.
func Run(t *testing.T, open Open) {
	for _, p := range promises() {
		t.Run(p.method+": "+p.sentence, func(t *testing.T) {
			for _, proof := range p.proofs {
				t.Run(proof.name, func(t *testing.T) {
					proof.prove(t, newFixture(t, open))
				})
			}
		})
	}
}
