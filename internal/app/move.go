package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/config"
	"github.com/coatcheck/coatcheck/internal/store/sqlstore"
)

// MoveOptions say what to move.
type MoveOptions struct {
	Config config.Config    // its secret is the one that the nodes on the target will have
	From   string           // sqlite:PATH
	To     string           // postgres://…
	Now    func() time.Time // nil: the wall
	Logger *slog.Logger     // nil: nothing is logged
	Tell   func(Progress)
}

// A MoveReport says what was moved.
type MoveReport struct {
	From    string     `json:"from"`
	To      string     `json:"to"`               // without user and password
	Secret  string     `json:"secret,omitempty"` // the file of the secret that the nodes need; empty if it is configured
	Resumed bool       `json:"resumed"`          // an earlier move was gone on with
	Anew    bool       `json:"anew"`             // what an earlier move had carried was dropped, because the source had changed since
	Before  bool       `json:"before"`           // an earlier move had done it all
	Tables  []TableSum `json:"tables"`
}

// Move carries all records of a SQLite database to an empty PostgreSQL database. See
// [sqlstore.DB.MoveTo]. It refuses a source that anybody has open, and one whose secret
// is not the configured one.
func Move(ctx context.Context, o MoveOptions) (report MoveReport, err error) {
	c := o.Config
	c.Database = o.From
	path, sqlite := c.SQLite()
	if !sqlite {
		return MoveReport{}, errors.New("a move is from sqlite:PATH")
	}
	lock, err := sqlstore.LockAlone(o.From)
	if err != nil {
		return MoveReport{}, err
	}
	defer func() { _ = lock.Unlock() }() // the process's end would do it, too
	a, err := Open(ctx, Options{Config: c, Now: o.Now, Logger: o.Logger, Existing: true, alone: lock})
	if errors.Is(err, ErrSecretOther) {
		return MoveReport{}, fmt.Errorf("the nodes on the target would have another secret than this database, and nobody's session would go on there: %w", err)
	}
	if err != nil {
		return MoveReport{}, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	e := audit.New(audit.DatabaseMoved, audit.OK, Origin)
	e.Actor = ByCommand
	moved, err := a.Store.MoveTo(ctx, o.To, e, o.Tell)
	if err != nil {
		return MoveReport{}, err
	}
	report = MoveReport{From: path, To: moved.Peer, Resumed: moved.Resumed, Anew: moved.Anew, Before: moved.Before, Tables: moved.Tables}
	if len(c.Secret) == 0 {
		report.Secret = SecretPath(path)
	}
	return report, nil
}
