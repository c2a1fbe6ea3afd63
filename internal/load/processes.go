package load

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Processes are subscribers spread over processes: one process has handles for some
// ten thousand, and a system ports for some 28,000 connections between two addresses.
// They are not safe for concurrent use.
type Processes struct {
	all []*part
}

// A part is one process.
type part struct {
	cmd *exec.Cmd
	in  *gob.Encoder
	out *gob.Decoder
	end io.Closer
}

// An order is what a process is told, and a reply what it answers.
type order struct {
	Options  *Options // the first order of all
	Ready    bool     // answer once all streams are whole
	Entries  int      // answer once so many were read
	Arrivals bool     // tell them
	Within   time.Duration
}

type reply struct {
	Error    string
	Counts   Counts
	Arrivals []Arrival
}

// Spread starts processes, each of which command makes and must call
// [ServeSubscribers], and divides the streams among them. They end with ctx or by
// Close.
func Spread(ctx context.Context, processes int, o Options, command func(context.Context) *exec.Cmd) (*Processes, error) {
	p := &Processes{}
	for i := range processes {
		own := o
		own.N = o.N*(i+1)/processes - o.N*i/processes
		if own.N == 0 {
			continue
		}
		one, err := startPart(command(ctx))
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.all = append(p.all, one)
		if _, err := one.ask(order{Options: &own}); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

func startPart(cmd *exec.Cmd) (*part, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process of subscribers: %w", err)
	}
	return &part{cmd: cmd, in: gob.NewEncoder(in), out: gob.NewDecoder(out), end: in}, nil
}

func (p *part) ask(o order) (reply, error) {
	if err := p.in.Encode(o); err != nil {
		return reply{}, fmt.Errorf("tell a process of subscribers: %w", err)
	}
	var r reply
	if err := p.out.Decode(&r); err != nil {
		return reply{}, fmt.Errorf("hear from a process of subscribers: %w", err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// each asks all processes the same, at the same time.
func (p *Processes) each(o order) ([]reply, error) {
	replies, errs := make([]reply, len(p.all)), make([]error, len(p.all))
	done := make(chan struct{})
	for i, one := range p.all {
		go func() {
			replies[i], errs[i] = one.ask(o)
			done <- struct{}{}
		}()
	}
	for range p.all {
		<-done
	}
	return replies, errors.Join(errs...)
}

// Ready returns once all streams are whole, or fails when that takes longer.
func (p *Processes) Ready(within time.Duration) error {
	_, err := p.each(order{Ready: true, Within: within})
	return err
}

// Read returns once every stream has read so many entries, on average, or fails when
// that takes longer.
func (p *Processes) Read(entries int, within time.Duration) error {
	_, err := p.each(order{Entries: entries, Within: within})
	return err
}

// Counts returns what has happened to all streams together.
func (p *Processes) Counts() (Counts, error) {
	replies, err := p.each(order{})
	var all Counts
	for _, r := range replies {
		all.Whole += r.Counts.Whole
		all.Connects += r.Counts.Connects
		all.Refused += r.Counts.Refused
		all.Ends += r.Counts.Ends
		all.Entries += r.Counts.Entries
		all.Gaps += r.Counts.Gaps
		all.Resyncs += r.Counts.Resyncs
	}
	return all, err
}

// Arrivals calls f with when each entry arrived at the streams of one process, for
// every process: an entry is told of once for each.
func (p *Processes) Arrivals(f func(Arrival)) error {
	replies, err := p.each(order{Arrivals: true})
	for _, r := range replies {
		for _, a := range r.Arrivals {
			f(a)
		}
	}
	return err
}

// PIDs are the ids of the processes.
func (p *Processes) PIDs() []int {
	ids := make([]int, len(p.all))
	for i, one := range p.all {
		ids[i] = one.cmd.Process.Pid
	}
	return ids
}

// Close ends all streams and processes, and waits for them.
func (p *Processes) Close() error {
	var errs []error
	for _, one := range p.all {
		errs = append(errs, one.end.Close())
	}
	for _, one := range p.all {
		var exit *exec.ExitError
		if err := one.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			errs = append(errs, err)
		}
	}
	p.all = nil
	return errors.Join(errs...)
}

// ServeSubscribers is what a process of [Spread] does: it takes orders from in until
// that ends, and replies to out.
func ServeSubscribers(ctx context.Context, in io.Reader, out io.Writer) error {
	orders, replies := gob.NewDecoder(in), gob.NewEncoder(out)
	var s *Subscribers
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if s != nil {
				s.Close()
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var r reply
		err := error(nil)
		if o.Options != nil {
			s, err = Subscribe(ctx, *o.Options)
		} else {
			r, err = s.obey(ctx, o)
		}
		if err != nil {
			r.Error = err.Error()
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
}

func (s *Subscribers) obey(ctx context.Context, o order) (reply, error) {
	if s == nil {
		return reply{}, errors.New("the first order must be to subscribe")
	}
	if o.Within > 0 {
		within, cancel := context.WithTimeout(ctx, o.Within)
		defer cancel()
		ctx = within
	}
	var err error
	switch {
	case o.Ready:
		err = s.Ready(ctx)
	case o.Entries > 0:
		err = s.Read(ctx, o.Entries*s.options.N)
	}
	r := reply{Counts: s.Counts()}
	if o.Arrivals {
		r.Arrivals = s.Arrivals()
	}
	return r, err
}
