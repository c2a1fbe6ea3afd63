package account

import (
	"context"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/credential"
)

// SetupLife is how long a first-administrator link is good.
const SetupLife = time.Hour

// OfferSetup makes a new first-administrator link, which kills the one before. It
// returns false once one was ever used.
func (d *Directory) OfferSetup(ctx context.Context) (token string, offered bool, err error) {
	secret := credential.NewSecret()
	offered, err = d.setup.OfferSetup(ctx, secret.Hash(), SetupLife)
	if !offered || err != nil {
		return "", false, err
	}
	return secret.Encode(), true, nil
}

// SetupOpen returns nil if the link is good, and spends nothing; else ErrSetupOver.
func (d *Directory) SetupOpen(ctx context.Context, token string) error {
	secret, ok := credential.ParseSecret(token)
	if !ok {
		return ErrSetupOver
	}
	open, err := d.setup.SetupOpen(ctx, secret.Hash())
	if err == nil && !open {
		return ErrSetupOver
	}
	return err
}

// ClaimSetup makes the first administrator and spends the link for ever.
func (d *Directory) ClaimSetup(ctx context.Context, token string, n NewUser, from audit.Origin) (Proof, error) {
	if err := d.SetupOpen(ctx, token); err != nil {
		return Proof{}, err
	}
	secret, _ := credential.ParseSecret(token)
	n.Roles, n.Verified = nil, false
	u, hash, err := d.prepare(ctx, n, true)
	if err != nil {
		return Proof{}, err
	}
	u.Roles = []string{Admin}
	e := audit.New(audit.AdministratorMade, audit.OK, from)
	e.Actor, e.UserID = u.ID, u.ID
	if u, err = d.users.ClaimSetup(ctx, secret.Hash(), u, hash, e); err != nil {
		return Proof{}, err
	}
	return proven(u, d.now()), nil
}
