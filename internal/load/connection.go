package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answerWithin is how long a request may take.
const answerWithin = 30 * time.Second

// A connection carries one request after the other. It costs a third of what
// net/http's client does, and it never sends a request twice. It is not safe for
// concurrent use, and of no use after an error.
type connection struct {
	conn   net.Conn
	in     *bufio.Reader
	forget func() bool // lets ctx go
}

// connect opens a connection, which ends with ctx.
func (t target) connect(ctx context.Context) (*connection, error) {
	within, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(within, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	if t.tls != nil {
		secure := tls.Client(conn, t.tls)
		if err := secure.HandshakeContext(within); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = secure
	}
	forget := context.AfterFunc(ctx, func() { _ = conn.Close() }) // what is under way fails, as it should
	return &connection{conn: conn, in: bufio.NewReaderSize(conn, 8<<10), forget: forget}, nil
}

func (c *connection) close() {
	c.forget()
	_ = c.conn.Close() // all answers were read
}

// A Refusal is an answer that is not a success.
type Refusal struct {
	Status int
	Code   string // of problem+json: "too_many_attempts"; "" if it was none
	Detail string
}

// Error names the status, and the code and sentence where the answer has them.
func (r *Refusal) Error() string {
	if r.Code == "" {
		return "the server answers " + strconv.Itoa(r.Status) + " " + http.StatusText(r.Status)
	}
	return fmt.Sprintf("the server answers %d %s: %s", r.Status, r.Code, r.Detail)
}

// send sends a request, as [target.request] writes it, and decodes a successful
// answer's body into out, unless that is nil. Other answers are a *Refusal.
func (c *connection) send(request []byte, out any) (http.Header, error) {
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	switch {
	case answer.StatusCode >= 300:
		return nil, refusalOf(answer)
	case out == nil:
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.Header, err
	}
	text, err := io.ReadAll(answer.Body)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	return answer.Header, err
}

func refusalOf(answer *http.Response) error {
	r := &Refusal{Status: answer.StatusCode}
	var problem struct{ Code, Detail string }
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err == nil && json.Unmarshal(text, &problem) == nil {
		r.Code, r.Detail = problem.Code, problem.Detail
	}
	return r
}

// request writes a request. Headers are pairs of name and value; body goes as JSON
// unless it is nil.
func (t target) request(method, path string, body any, headers ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: coatcheck-bench\r\n", method, path, t.host)
	for i := 0; i+1 < len(headers); i += 2 {
		b.WriteString(headers[i] + ": " + headers[i+1] + "\r\n")
	}
	if body == nil {
		b.WriteString("\r\n")
		return []byte(b.String())
	}
	text, _ := json.Marshal(body) // maps and strings always have a form
	fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	return []byte(b.String())
}

// permitted sends a request whose answer may have no end, returns the *Refusal if it is
// refused, and closes the connection.
func (c *connection) permitted(request []byte) error {
	defer c.close()
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer func() {
		c.close() // first, or the body would be read to its end
		_ = answer.Body.Close()
	}()
	if answer.StatusCode >= 300 {
		return refusalOf(answer)
	}
	return nil
}
