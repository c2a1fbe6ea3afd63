package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// crowd fills every table that grows, and tells the planner of it. $1 of each
// statement is how many sessions there are, $2 the time.
var crowd = []string{
	`INSERT INTO client (id, first_party, pairwise, audiences, scopes, access_ms, disabled)
	SELECT CASE n WHEN 0 THEN 'first-party' ELSE 'cli_' || n END, n = 0, n = 1, '', '', 600000, FALSE
	FROM generate_series(0, 5) n WHERE $1 > 0 AND $2 > 0`,
	`INSERT INTO account (id, email, email_key, email_verified, name, roles, password, disabled, created_at)
	SELECT 'usr_' || lpad(n::text, 10, '0'), 'person' || n || '@example.com', 'person' || n || '@example.com', TRUE, 'Ada', '', 'hash', FALSE, $2
	FROM generate_series(0, $1 / 5 - 1) n`,
	`INSERT INTO session (id, account_id, secret_hash, created_at, last_seen_at, idle_ms, expires_at, auth_time,
		amr, acr, ip, user_agent, device, remember, ended_at, sweep_at)
	SELECT 'ses_' || lpad(n::text, 10, '0'), 'usr_' || lpad((n % ($1 / 5))::text, 10, '0'), sha256(n::text::bytea), b, b, 604800000, b + 2592000000, b / 1000,
		'pwd', 'aal1', '192.0.2.7', 'Firefox', 'Firefox', TRUE, CASE WHEN n % 10 = 0 THEN b + 1000 END, b + 604800000
	FROM (SELECT n, $2 - 3456000000 / $1 * ($1 - n) AS b FROM generate_series(0, $1 - 1) n) x`,
	`INSERT INTO session_grant (id, session_id, client_id, audience, scope, generation, refresh_hash, salt, created_at)
	SELECT 'grt_' || lpad(n::text, 10, '0'), 'ses_' || lpad(n::text, 10, '0'), 'first-party', '', '', 1, sha256(n::text::bytea), substr(sha256(n::text::bytea), 1, 16), $2
	FROM generate_series(0, $1 - 1) n`,
	`INSERT INTO attachment (session_id, document, version)
	SELECT 'ses_' || lpad(n::text, 10, '0'), 'some', 1 FROM generate_series(0, $1 - 1, 2) n WHERE $2 > 0`,
	`INSERT INTO revocation (seq, bits, kind, subject, before_s, reason, at_s, until_s)
	SELECT n, 7, 'session', 'ses_' || lpad(n::text, 10, '0'), 0, 'signed_out', $2 / 1000 + n / 50, $2 / 1000 + n / 50 FROM generate_series(1, $1) n`,
	`INSERT INTO audit (seq, at, event, outcome, actor, account_id, session_id, subject, ip, user_agent, request_id)
	SELECT n, $2 - 1000 * (2 * $1 - n), (ARRAY['signed_in', 'sessions_ended', 'signed_up'])[1 + n % 3], 'ok', '', 'usr_' || lpad((n % ($1 / 5))::text, 10, '0'), '', '', '', '', ''
	FROM generate_series(1, 2 * $1) n`,
	`INSERT INTO link (id, kind, account_id, email, email_key, name, password, roles, decoy, created_at, expires_at)
	SELECT 'lnk_' || lpad(n::text, 10, '0'), (ARRAY['sign_up', 'reset', 'email'])[1 + n % 3], 'usr_' || lpad((n % ($1 / 5))::text, 10, '0'),
		'person' || n % ($1 / 5) || '@example.com', 'person' || n % ($1 / 5) || '@example.com', '', '', '', FALSE, $2 + n, $2 + n
	FROM generate_series(0, $1 - 1) n`,
	`INSERT INTO outbox (id, kind, recipient, language, link_id, details, created_at, expires_at, due_at, dead_at)
	SELECT 'msg_' || lpad(n::text, 10, '0'), 'reset', 'person' || n || '@example.com', 'en', '', '{}', $2, $2, $2 + n, CASE WHEN n % 2 = 0 THEN $2 + n END
	FROM generate_series(0, $1 - 1) n`,
	`INSERT INTO authorization_code (id, secret_hash, request_id, session_id, client_id, redirect_uri, challenge, audience, scope, nonce,
		claims, offline, created_at, expires_at, spent_at)
	SELECT 'cod_' || lpad(n::text, 10, '0'), sha256(n::text::bytea), 'request of cod_' || lpad(n::text, 10, '0'), 'ses_' || lpad(n::text, 10, '0'),
		'cli_1', '', '', '', '', '', '', FALSE, $2 - n, $2 - n + 60000, CASE WHEN n % 2 = 0 THEN $2 END
	FROM generate_series(0, $1 - 1) n`,
	`INSERT INTO logout_watch (grant_id, session_id, client_id, began_at, given_at, look_at)
	SELECT g.id, g.session_id, 'cli_' || 1 + length(g.id) % 5, s.created_at, g.created_at, s.created_at + 604800000
	FROM session_grant g JOIN session s ON s.id = g.session_id WHERE $1 > 0 AND $2 > 0`,
	`INSERT INTO logout_notice (id, client_id, account_id, created_at, expires_at, due_at, dead_at)
	SELECT 'grt_' || lpad(n::text, 10, '0'), 'cli_' || 1 + n % 5, 'usr_' || lpad((n % ($1 / 5))::text, 10, '0'), $2, $2, $2 + n, CASE WHEN n % 2 = 0 THEN $2 + n END
	FROM generate_series(0, $1 - 1) n`,
	`INSERT INTO client_assertion (id, expires_at)
	SELECT 'assertion' || n, $2 + n FROM generate_series(1, $1) n`,
	`INSERT INTO access_lifetime (lifetime_ms, held_until) SELECT $1, $2`,
}

// crowdedPostgres is a connection, as the store has them, to a database with so many
// sessions and as much in every other table that grows. The planner knows of them, and of
// nothing else: nobody counts the rows of a table that hardly changes.
func crowdedPostgres(t *testing.T, sessions int) *pgx.Conn {
	t.Helper()
	url := newSchemas(t).fresh(t)
	open(t, Options{URL: url})
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close(context.Background())) })
	for _, fill := range crowd {
		fill = strings.NewReplacer("$1", fmt.Sprint(sessions), "$2", fmt.Sprintf("CAST(%d AS BIGINT)", crowdNow)).Replace(fill)
		if _, err := conn.Exec(t.Context(), fill); err != nil {
			t.Fatalf("%v in %s", err, fill)
		}
	}
	if _, err := conn.Exec(t.Context(), "ANALYZE "+strings.Join(growing, ", ")); err != nil {
		t.Fatal(err)
	}
	must(t, planPlainly(t.Context(), conn))
	return conn
}

// A planned is a node of a plan of PostgreSQL.
type planned struct {
	Node     string    `json:"Node Type"`
	Relation string    `json:"Relation Name"`
	Index    string    `json:"Index Name"`
	Cond     string    `json:"Index Cond"`
	Filter   string    `json:"Filter"`
	Rows     float64   `json:"Plan Rows"`
	Below    []planned `json:"Plans"`
}

func (p *planned) String() string {
	var b strings.Builder
	p.write(&b, "")
	return b.String()
}

func (p *planned) write(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "\n%s%s %s %s [%s] (%s) %.0f rows", indent, p.Node, p.Relation, p.Index, p.Cond, p.Filter, p.Rows)
	for i := range p.Below {
		p.Below[i].write(b, indent+"  ")
	}
}

// growing are the tables that grow with the number of people, or with time.
var growing = []string{"logout_watch", "logout_notice", "authorization_code", "account", "session", "session_grant", "attachment", "revocation", "audit", "link", "outbox"}

// reads returns the parts of a plan that read a whole table that grows. An index that
// is walked in its order until enough is found is no such part: limited says so.
func (p *planned) reads(limited bool) []string {
	var bad []string
	switch {
	case p.Node == "Seq Scan" && slices.Contains(growing, p.Relation):
		bad = append(bad, "reads all of "+p.Relation)
	case strings.HasPrefix(p.Node, "Index") && p.Cond == "" && slices.Contains(growing, p.Relation) && !limited:
		bad = append(bad, "reads all of "+p.Index)
	case p.Node == "Limit":
		limited = true
	case p.Node == "Sort" || p.Node == "Hash" || p.Node == "Aggregate":
		limited = false // it wants all of what is below
	}
	for i := range p.Below {
		bad = append(bad, p.Below[i].reads(limited)...)
	}
	return bad
}

// Every look-up in a table that grows goes by an index on PostgreSQL, too: planned for
// its arguments, for any arguments, and as a server that has run it before chooses.
func TestLookupsAreIndexedOnPostgres(t *testing.T) {
	conn := crowdedPostgres(t, crowded)
	for _, mode := range []string{"force_custom_plan", "force_generic_plan", "auto"} {
		if _, err := conn.Exec(t.Context(), "SET plan_cache_mode = "+mode); err != nil {
			t.Fatal(err)
		}
		for _, l := range append(lookups(), sharedLookups()...) {
			t.Run(mode+"/"+l.name, func(t *testing.T) {
				p := l.explain(t, conn, mode == "auto")
				if bad := p.reads(false); len(bad) > 0 {
					t.Errorf("it %s:%s", strings.Join(bad, ", "), p)
				}
			})
		}
	}
}

// Who asks for a few of somebody's own is led to them by whose they are, not past what all
// others have.
func TestListsOfOneLookAtNobodyElse(t *testing.T) {
	conn := crowdedPostgres(t, 5000)
	if _, err := conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan"); err != nil {
		t.Fatal(err)
	}
	for _, l := range lookups() {
		if !slices.Contains(l.args, any(someUser)) {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			p := l.explain(t, conn, false)
			if strings.Contains(p.filters(), "account_id") {
				t.Errorf("it looks at others':%s", p)
			}
		})
	}
}

// filters are what rows that an index led to are looked at for, and left.
func (p *planned) filters() string {
	var all string
	if strings.HasPrefix(p.Node, "Index") {
		all = p.Filter
	}
	for i := range p.Below {
		all += p.Below[i].filters()
	}
	return all
}

// That a table has little in it is no reason to read all of it: the plan stays, and the
// table grows. What takes a dozen rows at a time, seldom, may.
func TestLookupsAreIndexedFromTheBeginning(t *testing.T) {
	conn := crowdedPostgres(t, 50)
	if _, err := conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan"); err != nil {
		t.Fatal(err)
	}
	for _, l := range append(lookups(), sharedLookups()...) {
		if slices.Contains([]string{"touch many", "sweep", "put off the sweep", "notices of grants", "grants that are not watched", "what may have lapsed"}, l.name) {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			p := l.explain(t, conn, false)
			if bad := p.reads(false); len(bad) > 0 {
				t.Errorf("it %s:%s", strings.Join(bad, ", "), p)
			}
		})
	}
}

// explain returns the plan of a prepared statement, of its first use or of a later one.
func (l *lookup) explain(t *testing.T, conn *pgx.Conn, later bool) *planned {
	t.Helper()
	if _, err := conn.Prepare(t.Context(), "looked_up", l.query); err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, conn.Deallocate(context.Background(), "looked_up")) }()
	explain := "EXPLAIN (FORMAT JSON) EXECUTE looked_up"
	if len(l.args) > 0 {
		explain += "(" + literals(l.args) + ")"
	}
	uses := 1
	if later {
		uses = 7 // of which the first five are planned for their arguments
	}
	var text []byte
	for range uses {
		must(t, conn.QueryRow(t.Context(), explain, pgx.QueryExecModeSimpleProtocol).Scan(&text))
	}
	var plans []struct{ Plan planned }
	must(t, json.Unmarshal(text, &plans))
	return &plans[0].Plan
}

func literals(args []any) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = literal(arg)
	}
	return strings.Join(words, ", ")
}

func literal(arg any) string {
	switch arg := arg.(type) {
	case nil:
		return "NULL"
	case string:
		return "'" + arg + "'"
	case []byte:
		return fmt.Sprintf(`'\x%x'`, arg)
	case []string, []int64, []bool, [][]byte:
		list := reflect.ValueOf(arg)
		words := make([]string, list.Len())
		for i := range words {
			words[i] = literal(list.Index(i).Interface())
		}
		return "ARRAY[" + strings.Join(words, ", ") + "]" + map[bool]string{true: "::bytea[]"}[list.Type().Elem().Kind() == reflect.Slice]
	}
	return fmt.Sprint(arg)
}

// The counters' statements are in functions, whose plans nobody shows: what they read is
// counted.
func TestCountersAreIndexed(t *testing.T) {
	url := newSchemas(t).fresh(t)
	open(t, Options{URL: url})
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer func() { must(t, conn.Close(context.Background())) }()
	must(t, planPlainly(t.Context(), conn))
	for _, prepare := range []string{
		`INSERT INTO allowance (key, full_us, sweep_us) SELECT sha256(n::text::bytea), 1000 + n, 1000 + n FROM generate_series(1, 20000) n`,
		`ANALYZE allowance`,
	} {
		if _, err := conn.Exec(t.Context(), prepare); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := conn.Begin(t.Context())
	must(t, err)
	defer func() { must(t, tx.Rollback(context.Background())) }()
	for i := range 10 { // plans are chosen anew after five
		key := [][]byte{{byte(i)}, {byte(i), 1}}
		for query, args := range map[string][]any{
			takeAllowance:   {500, key, []int64{10, 10}, []int64{50, 50}, [][]byte{nil, nil}},
			returnAllowance: {500, key, []int64{10, 10}, []int64{50, 50}, [][]byte{nil, nil}, []byte{byte(i), 2}, 10},
			sweepAllowance:  {1100, 10},
		} {
			if _, err := tx.Exec(t.Context(), query, args...); err != nil {
				t.Fatalf("%v in %s", err, query)
			}
		}
	}
	var whole, rows int
	const read = `SELECT seq_scan, seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'allowance' AND schemaname = current_schema()`
	must(t, tx.QueryRow(t.Context(), read).Scan(&whole, &rows))
	if whole > 0 {
		t.Errorf("all of it was read %d times, %d rows", whole, rows)
	}
}

// A row that goes takes those with it that name it: they have to be found.
func TestForeignKeysAreIndexed(t *testing.T) {
	url := newSchemas(t).fresh(t)
	open(t, Options{URL: url})
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), `
		SELECT c.conrelid::regclass::text || ' ' || c.conname FROM pg_constraint c
		WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace AND NOT EXISTS (
			SELECT 1 FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND i.indpred IS NULL)`)
	must(t, err)
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	if len(missing) > 0 {
		t.Errorf("no index leads to the rows of %q", missing)
	}
}

// unplanned are the statements that are not among the lookups, and why not.
var unplanned = map[string]string{
	"one row, or as many as an operator has made": `readTime takeNumbers holdClient holdIssuer raiseClient raiseIssuer
		storeFacts readSeal putSeal readKeys readAlgorithms swapKeyring putKey removeKey newEpoch holdLifetime dropLifetimes raiseMark
		addServiceKey findServiceKey listServiceKeys removeServiceKey setTerms offerSetup setupOpen spendSetup
		clockOf acceptMark postgresFacts createMigrationTable readMigrations readServes noteServes addMigration addHead
		hasMigrations holdLife plainPlans isOurs
		addClient findClient listClients holdRegistration changeClient removeClient raiseClientChange`,
	"a function of the schema: see TestCountersAreIndexed": "takeAllowance returnAllowance sweepAllowance",
	"a move or a restore, when nothing is served": `restoredTransfer restoredSetup restoredCodes restoredLifetimes restoredMails restoredEpoch
		readTransfer addTransfer finishTransfer prefilled sqliteColumns sqliteParents sqliteTables`,
	"an emergency, when nothing is served": "acceptLinks acceptSessions acceptSeconds",
	"part of others":                       "storeTime noticeColumns endLinks listedColumns listAudit dueForSweep touchSessions manyOf",
	"one for each of some kind":            "countContents",
	"what waits to be sent is little":      "countLetters lettersTo countNotices lastFailure",
}

// Who adds a statement adds it to the lookups, or says why not.
func TestEveryStatementIsPlanned(t *testing.T) {
	names, err := filepath.Glob("*.go")
	must(t, err)
	begins := regexp.MustCompile("^[\"`(\\s]*(SELECT|INSERT|UPDATE|DELETE|WITH)\\s")
	statements, used := map[string]bool{}, map[string]bool{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		must(t, err)
		if name == "statements_test.go" {
			ast.Inspect(file, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					used[id.Name] = true
				}
				return true
			})
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for id, value := range named(file) {
			ast.Inspect(value, func(n ast.Node) bool {
				if text, ok := n.(*ast.BasicLit); ok && begins.MatchString(text.Value) {
					statements[id] = true
				}
				return true
			})
		}
	}
	for _, names := range unplanned {
		for _, name := range strings.Fields(names) {
			used[name] = true
		}
	}
	if len(statements) < 90 {
		t.Errorf("only %d statements were found", len(statements))
	}
	for name := range statements {
		if !used[name] {
			t.Errorf("%s is neither among the lookups nor among those that are not", name)
		}
	}
}

// named are the constants, variables and functions that return a text, by their names.
func named(file *ast.File) map[string]ast.Node {
	all := map[string]ast.Node{}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if r := d.Type.Results; r != nil && len(r.List) == 1 && fmt.Sprint(r.List[0].Type) == "string" {
				all[d.Name.Name] = d
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for i, value := range v.Values {
						all[v.Names[i].Name] = value
					}
				}
			}
		}
	}
	return all
}
