package web

// watchMail adds the figures of mails.
func (m *Metrics) watchMail(p Parts) {
	if p.Outbox == nil {
		return
	}
	count := seldom(p.Now, p.Mails.Counts)
	m.watchQueue(queue{
		name:  "coatcheck_mails",
		about: "Mails in the outbox, counted at most every 15 seconds: that wait to be sent, and that could not be.",
		backlog: func() (waiting, dead int, known bool) {
			c, known := count()
			return c.Waiting, c.Dead, known
		},
		sums: map[string]sum{
			"sent":   {"Mails that this node has handed to the mail server.", func() uint64 { return p.Outbox.Figures().Sent }},
			"failed": {"Attempts to send a mail that failed on this node.", func() uint64 { return p.Outbox.Figures().Failed }},
			"buried": {"Mails that this node has given up.", func() uint64 { return p.Outbox.Figures().Buried }},
		},
	})
}
