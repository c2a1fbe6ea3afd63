package account

import (
	"context"
	"time"

	"github.com/coatcheck/coatcheck/internal/audit"
	"github.com/coatcheck/coatcheck/internal/throttle"
)

// returned tells that what an attempt had spent could not be given back. Only the
// person is the poorer for it, so nothing else fails.
func (d *Directory) returned(err error) {
	if err != nil {
		d.logger.Warn("an attempt could not be given back, it stays counted", "error", err)
	}
}

// How often each node tells of refusals in the audit log: of one address and account,
// and of one address. What is refused from memory, by the thousand in a second, must not
// cost a write each.
var (
	noteRate        = throttle.Rate{Burst: 10, Every: time.Minute}
	noteAddressRate = throttle.Rate{Burst: 100, Every: time.Second}
)

// noteRefused records that somebody was refused for trying too often, unless that was
// told often enough.
func (d *Directory) noteRefused(ctx context.Context, event audit.Event, subject string, from audit.Origin) {
	address := string(event) + "\x00" + throttle.AddressGroup(from.IP)
	waits, err := d.noted.Take(ctx, throttle.Limit{Key: address, Rate: noteAddressRate}, throttle.Limit{Key: address + "\x00" + subject, Rate: noteRate})
	if err == nil && waits.Longest() == 0 {
		d.note(ctx, event, ErrTooMany.Code, User{}, subject, from)
	}
}
