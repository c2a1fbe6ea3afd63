package advice

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/coatcheck/coatcheck/internal/loopback"
)

// A Setting is one line of coatcheck.toml.
type Setting struct {
	Section string   // the heading that it stands under
	Name    string   // as docs/configuration.md has it
	Values  []string // one, unless List
	List    bool     // an array
	Off     bool     // stands in the file as an example, out of force
	Why     string   // why it is there and has this value
}

// The headings of the file, in their order.
const (
	where   = "Where it is"
	hands   = "What sign-in hands out, and who may ask"
	lasting = "How long a sign-in lasts"
	ending  = "How soon an end is felt"
	keeping = "Where the records are"
	joining = "Accounts and mail"
)

// settings is the file on its way.
type settings struct {
	answers Answers
	given   map[string]string
	public  *url.URL // what public_url will be
	section string
	all     []Setting
}

// Settings returns the lines for the answers. A setting that is given, by its name and
// written as in the environment, takes the place of the advice's own; the rest follows
// from it where it can. Names that the advice has no line for are left out.
//
// The lines are such that a server starts with them as they are, on this machine and
// with nothing else set up, unless what is given says otherwise.
func Settings(a Answers, given map[string]string) []Setting {
	s := &settings{answers: a, given: given, public: publicOf(given)}
	s.address()
	s.credentials()
	s.lifetimes()
	s.ends()
	s.records()
	s.accounts()
	return s.all
}

// Undecided returns those of the settings that hold an example, or wait to be turned
// on, until somebody says what only they can know.
func Undecided(a Answers, all []Setting, given map[string]string) []string {
	unknown := []string{"public_url", "token.audiences", "cors.origins", "mail.host"}
	if a[Machines] == Many {
		unknown = append(unknown, "database")
	}
	var names []string
	for _, line := range all {
		if _, decided := given[line.Name]; !decided && slices.Contains(unknown, line.Name) {
			names = append(names, line.Name)
		}
	}
	return names
}

const (
	hereListen = "localhost:8080"
	herePublic = "http://localhost:8080"
)

// publicOf returns the address that browsers use: the one that is given, else the one
// at which the server listens on this machine.
func publicOf(given map[string]string) *url.URL {
	text := given["public_url"]
	if host, _, err := net.SplitHostPort(given["listen"]); text == "" && err == nil && loopback.Is(host) {
		text = "http://" + given["listen"]
	}
	if text == "" {
		text = herePublic
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return &url.URL{Scheme: "http", Host: hereListen} // whoever reads the file says what is wrong
	}
	return u
}

// here reports whether people on this machine alone use the server.
func (s *settings) here() bool { return loopback.Is(s.public.Hostname()) }

// domain is the one that the hosts of the application share, or an example.
func (s *settings) domain() string {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(s.public.Hostname()); err == nil && !s.here() && net.ParseIP(s.public.Hostname()) == nil {
		return domain
	}
	return "example.com"
}

func (s *settings) add(line Setting, values ...string) {
	line.Section, line.Values = s.section, values
	if text, ok := s.given[line.Name]; ok {
		line.Off, line.Values = false, []string{text}
		if line.List {
			line.Values = split(text)
		}
	}
	s.all = append(s.all, line)
}

// on adds a line that is in force, and off one that waits for its time.
func (s *settings) on(name, why string, value string) { s.add(Setting{Name: name, Why: why}, value) }

func (s *settings) off(name, why string, value string) {
	s.add(Setting{Name: name, Why: why, Off: true}, value)
}

func (s *settings) list(name, why string, off bool, values ...string) {
	s.add(Setting{Name: name, Why: why, List: true, Off: off}, values...)
}

func split(text string) []string {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

func (s *settings) address() {
	s.section = where
	public := s.public.Scheme + "://" + s.public.Host
	if s.here() {
		s.on("public_url", "The address that people and services use, and the issuer in every token: all links are made from it. This one is for trying it on this machine; in earnest it is https, such as \"https://auth.example.com\".", public)
	} else {
		s.on("public_url", "The address that people and services use, and the issuer in every token: all links are made from it, never from what a request says.", public)
	}
	listen := hereListen
	if s.here() && s.public.Port() != "" {
		listen = s.public.Host
	}
	s.on("listen", "Where it listens. Nobody but this machine reaches it there, which is right behind a proxy on the same machine; \":8080\" is for every network.", listen)
	switch {
	case s.here():
		s.list("proxies", "For later, with a proxy in front: the networks that it asks from. Its X-Forwarded-For is believed, nobody else's; without it all people would share one allowance of tries.", true, "127.0.0.1/32", "::1/128")
	case s.given["tls.certificate"] == "" && s.answers[Machines] == One:
		s.list("proxies", "TLS ends at a proxy on this machine. Its X-Forwarded-For is believed, nobody else's; without it all people would share one allowance of tries.", false, "127.0.0.1/32", "::1/128")
	default:
		s.list("proxies", "The networks that your proxy or load balancer asks from. Its X-Forwarded-For is believed, nobody else's; without it all people would share one allowance of tries.", true, "10.0.0.0/8")
	}
}

func (s *settings) credentials() {
	s.section = hands
	switch a := s.answers; {
	case !a.holds(Token, Hybrid):
		s.list("transports", "Browsers get the session cookie, and no page has use for a token: what is not handed out cannot be stolen.", false, "cookie")
	case !a.holds(Token):
		s.list("transports", "Browsers sign in to a cookie, and draw short tokens with it for the services. Nobody asks for a refresh token, but who may draw tokens may be handed them.", false, "cookie", "token")
	case a.holds(Session, Hybrid):
		s.list("transports", "cookie is for browsers, token is for apps on phones.", false, "cookie", "token")
	default:
		s.list("transports", "token is what the applications use. cookie is for Coatcheck's own pages, such as the account and the first administrator.", false, "cookie", "token")
	}
	if s.answers.holds(Token, Hybrid) {
		s.tokens()
	}
	if s.answers.browsers() && s.answers[Domains] == One {
		s.off("cookie.domain", s.whyDomain(), s.domain())
	}
	if s.answers.browsers() && (s.answers[Domains] == Several || s.answers[Services] == Several) {
		origin := "https://app." + s.domain()
		if s.answers[Domains] == Several {
			origin = "https://shop.example.org"
		}
		s.list("cors.origins", "The pages on other hosts that may call Coatcheck from a script, each by its exact origin. None is on until you name yours: a page that may call it acts for whoever looks at it.", true, origin)
		s.list("return_to.origins", "Where the sign-in page may send people back to, besides Coatcheck's own host. A list, so that nobody can make a link to your sign-in page that ends on theirs.", true, origin)
	}
}

func (s *settings) whyDomain() string {
	why := "The cookie stays with Coatcheck's own host, where no other can read or set it: put the application behind the same host, under a path."
	if s.answers[Services] == Several {
		why = "The cookie stays with Coatcheck's own host, and pages elsewhere draw tokens with it."
	}
	return why + " Turn this on only where servers on other hosts of the domain must see the cookie itself: every host of the domain then gets it. It needs https."
}

func (s *settings) tokens() {
	if s.answers[Services] == Several {
		s.list("token.audiences", "Your services, by names of your own (these are examples): a token names the one that it is for, and no other accepts it.", false, "orders", "billing")
	} else {
		s.list("token.audiences", "Your application, by a name of your own (this is an example): a token for it is of no use at Coatcheck itself.", false, "app")
	}
	if s.answers[Instant] == Yes {
		s.on("token.access", "Ten minutes until a token has to be renewed. It need not be shorter for the sake of sign-out: verifiers refuse it as soon as its session ends.", "10m")
	} else {
		s.on("token.access", "Ten minutes until a token has to be renewed. For whatever checks tokens without listening to the log, it is also how long an ended session goes on.", "10m")
	}
}

func (s *settings) lifetimes() {
	s.section = lasting
	switch s.answers[Clients] {
	case Phones:
		s.on("session.idle", "A phone may lie in a drawer for weeks, and is locked by itself: 30 days without use end its session.", "30d")
		s.on("session.absolute", "Half a year after sign-in it is over, used or not, so that a phone that was given away does not stay signed in for ever.", "180d")
	case Both:
		s.on("session.idle", "A week without use ends a session. Browsers may be shared, so they decide; a phone in use renews its tokens, which counts.", "7d")
		s.on("session.absolute", "A month after sign-in it is over, used or not, so that nothing that was stolen unseen is good for ever.", "30d")
	default:
		s.on("session.idle", "A week without use ends a session, because a browser may be somebody else's the next time.", "7d")
		s.on("session.absolute", "A month after sign-in it is over, used or not, so that nothing that was stolen unseen is good for ever.", "30d")
	}
	s.off("session.max", "A limit of sessions for each person: the next sign-in ends the oldest. Useful where accounts must not be shared.", "10")
}

func (s *settings) ends() {
	s.section = ending
	if s.answers[Instant] == Yes {
		s.on("revocation.staleness", "A service that has heard nothing for this long refuses everybody, because somebody may have signed out meanwhile. Give its verifier the same (Staleness: 5 * time.Second).", "5s")
		s.on("revocation.heartbeat", "So each service is told once a second that nothing happened. It has to be less than half of revocation.staleness; one lost in the network does no harm.", "1s")
		return
	}
	s.on("revocation.staleness", "A service that has heard nothing goes on for this long before it refuses everybody: you would rather have that than an outage. Give its verifier the same (Staleness: time.Minute).", "1m")
	s.on("revocation.heartbeat", "Each service is told this often that nothing happened, so that it knows that it has missed nothing.", "2s")
}

func (s *settings) records() {
	s.section = keeping
	if s.answers[Machines] == One {
		s.on("database", "One file on this machine, with every commit on disk before it is answered. Nothing else has to run.", "sqlite:coatcheck.db")
		s.off("secret_file", "The secret that encrypts the signing keys. A file beside the database (coatcheck.secret) is made at the first start; name another here to keep it elsewhere. A backup needs both.", "/etc/coatcheck/secret")
		return
	}
	s.on("database", "A file, to try it on this machine. Machines that come and go need PostgreSQL: \"postgres://coatcheck@db.example.com/coatcheck\", with a password in COATCHECK_DATABASE or database_file.", "sqlite:coatcheck.db")
	s.off("secret_file", "The secret that encrypts the signing keys. With PostgreSQL you give it, the same at every start: make it with \"openssl rand -hex 32\", and name its file here or set COATCHECK_SECRET.", "/run/secrets/coatcheck")
}

func (s *settings) accounts() {
	s.section = joining
	s.on("sign_up", "Everybody may make an account. \"invite\" is for those whom you have invited, \"closed\" for administrators alone.", "open")
	_, mail := s.given["mail.host"]
	switch {
	case !mail && !s.here():
		s.on("verify_email", "No mail is set up below, so nobody proves that an address is theirs: treat it as a name that somebody chose. Set up mail and take this line away, and they have to.", "optional")
	case !mail:
		s.off("verify_email", "With mail, an address has to be proven before it signs in; until it is set up, mails are printed on this machine and nothing has to be proven.", "required")
	}
	s.mail(s.domain(), !mail)
}

// mail is how mails are sent; off is whether none are sent yet.
func (s *settings) mail(domain string, off bool) {
	line := func(name, why, value string, off bool) { s.add(Setting{Name: name, Why: why, Off: off}, value) }
	line("mail.host", "The SMTP server for links and notices. With it people reset passwords themselves, and hear of sign-ins that were not theirs. The next lines go with it.", "smtp."+domain, off)
	port, why := "587", "587 is where mail servers take mail from programs."
	if s.given["mail.tls"] == "implicit" {
		port, why = "465", "465 is where TLS is spoken from the first byte."
	}
	line("mail.port", why, port, off)
	line("mail.tls", "\"starttls\" and \"implicit\" (port 465) both refuse a server that cannot encrypt or shows a wrong certificate.", "starttls", off)
	line("mail.from", "Who the mails are from. The domain should allow that server to send for it (SPF, DKIM), or they are taken for spam.", "no-reply@"+domain, off)
	line("mail.user", "Whom Coatcheck signs in as there, if the server asks for it; then there is a password, too.", "coatcheck@"+domain, true)
	line("mail.password_file", "A file with that password, so that it stands neither here nor in a flag; COATCHECK_MAIL_PASSWORD does as well.", "/run/secrets/coatcheck-mail", true)
}
