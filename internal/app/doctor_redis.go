package app

import (
	"context"

	"github.com/coatcheck/coatcheck/internal/wakeup"
)

// redis tries what nodes do with it. Nothing hangs on it but how soon they hear of ends.
func (d *doctor) redis(ctx context.Context) {
	if d.config.Redis == "" {
		return
	}
	place, err := wakeup.Try(ctx, d.config.Redis)
	if err != nil {
		d.find("redis", Note, "Redis at "+place+" is of no use: "+err.Error()+". Nodes hear of ends at their next look at the database, up to 50 ms later.",
			"Look whether it runs, can be reached from this machine, and lets this user in. A user of its own needs the commands hello, ping, subscribe, unsubscribe and publish, and the channels "+wakeup.Prefix+"*.")
		return
	}
	d.find("redis", Fine, "Nodes wake each other through Redis at "+place+".", "")
}
