// Package device names what somebody uses, in words by which a person recognises it.
package device

import (
	"strings"

	"github.com/mileusna/useragent"
)

// unknown is the name of a device that says nothing about itself.
const unknown = "an unknown device"

// The longest user agent that is looked at, and the longest name of a product
// taken from one, in bytes.
const (
	maxUserAgent = 512
	maxProduct   = 40
)

// Name returns a few words by which a person recognises a device among
// others: "Firefox on Windows", "Safari on iPhone", "curl", or "an unknown
// device". It is for people only and lets nobody in, since anyone may send any user
// agent. The words are ours, except the name of a program that is no browser,
// which is at most 40 letters, digits, spaces and "._+-"; all is ASCII and at most
// 64 characters.
func Name(userAgent string) string {
	if len(userAgent) > maxUserAgent {
		userAgent = userAgent[:maxUserAgent]
	}
	userAgent = strings.TrimSpace(userAgent)
	switch product := product(userAgent); product {
	case "Mozilla", "Opera", "Dalvik":
		return browserName(userAgent)
	default:
		return programName(userAgent, product)
	}
}

// browserName names a user agent that speaks as browsers do.
func browserName(userAgent string) string {
	name, place := browser(userAgent), place(userAgent)
	switch {
	case name == "" && place == "":
		return unknown
	case place == "" || isRobot(name):
		return name
	case name == "":
		return "a browser on " + place
	default:
		return name + " on " + place
	}
}

// browserMarks are the words by which browsers give themselves away although they also
// claim to be others, in the order in which they count.
var browserMarks = []struct{ in, name string }{
	{"Googlebot", "Googlebot"},
	{"bingbot", "Bingbot"},
	{"Applebot", "Applebot"},
	{"YandexBot", "YandexBot"},
	{"GPTBot", "GPTBot"},
	{"DuckDuckBot", "DuckDuckBot"},
	{"AhrefsBot", "AhrefsBot"},
	{"Baiduspider", "Baiduspider"},
	{"FBAN/", "Facebook"},
	{"FB_IAB/", "Facebook"},
	{"Instagram ", "Instagram"},
	{"BytedanceWebview", "TikTok"},
	{"LinkedInApp", "LinkedIn"},
	{"GSA/", "the Google app"},
	{"Electron/", "an app"},
	{"DuckDuckGo/", "DuckDuckGo"},
	{"Ddg/", "DuckDuckGo"},
	{"Focus/", "Firefox Focus"},
	{"Klar/", "Firefox Klar"},
	{"YaBrowser/", "Yandex Browser"},
	{"UCBrowser/", "UC Browser"},
	{"Brave/", "Brave"},
	{"HuaweiBrowser/", "Huawei Browser"},
	{"MiuiBrowser/", "Mi Browser"},
	{"Silk/", "Silk"},
	{"Opera Mini/", "Opera Mini"},
	{"OPR/", "Opera"},
	{"OPT/", "Opera"},
	{"OPX/", "Opera"},
	{"OPiOS/", "Opera"},
	{"Presto/", "Opera"},
	{"Trident/", "Internet Explorer"},
	{"HeadlessChrome/", "Headless Chrome"},
	{"Epiphany/", "GNOME Web"},
}

// browserNames are our words for what the parser calls a browser; what is not here is
// told by other means.
var browserNames = map[string]string{
	useragent.Firefox: "Firefox", useragent.Chrome: "Chrome", useragent.Safari: "Safari", useragent.Edge: "Edge",
	useragent.Vivaldi: "Vivaldi", useragent.SamsungBrowser: "Samsung Internet", useragent.InternetExplorer: "Internet Explorer",
	useragent.Opera: "Opera",
}

// browser names the browser, or "an app" where an application shows pages by the
// system's own means, or nothing.
func browser(userAgent string) string {
	for _, mark := range browserMarks {
		if strings.Contains(userAgent, mark.in) {
			return mark.name
		}
	}
	parsed := useragent.Parse(userAgent)
	switch {
	case strings.HasPrefix(userAgent, "Dalvik/"), strings.Contains(userAgent, "; wv)"):
		return "an app"
	case browserNames[parsed.Name] != "":
		return browserNames[parsed.Name]
	case strings.Contains(userAgent, "Chrome/"):
		return "Chrome"
	case strings.Contains(userAgent, "AppleWebKit/") && !strings.Contains(userAgent, "Safari/") && parsed.OS != "":
		return "an app"
	default:
		return ""
	}
}

func isRobot(name string) bool {
	return strings.HasSuffix(strings.ToLower(name), "bot") || name == "Baiduspider"
}

// placeMarks are the words by which systems and devices are told, in the order in
// which they count, since some also claim to be others.
var placeMarks = []struct{ in, name string }{
	{"Windows Phone", "Windows Phone"},
	{"iPad", "iPad"},
	{"iPod", "iPod"},
	{"iPhone", "iPhone"},
	{"Android", "Android"},
	{"CrOS", "ChromeOS"},
	{"Windows", "Windows"},
	{"Mac OS X", "macOS"},
	{"Macintosh", "macOS"},
	{"Linux", "Linux"},
	{"FreeBSD", "FreeBSD"},
	{"OpenBSD", "OpenBSD"},
}

// place names the kind of device, or its system, or nothing.
func place(userAgent string) string {
	for _, place := range placeMarks {
		if strings.Contains(userAgent, place.in) {
			return place.name
		}
	}
	return ""
}

// programNames are our words for the libraries that programs call with.
var programNames = map[string]string{
	"Go-http-client": "a Go program", "Dart": "an app", "okhttp": "an app on Android",
	"python-requests": "a Python program", "Python-urllib": "a Python program", "python-httpx": "a Python program", "aiohttp": "a Python program",
	"node": "a Node.js program", "node-fetch": "a Node.js program", "undici": "a Node.js program", "axios": "a Node.js program",
	"Java": "a Java program", "Java-http-client": "a Java program", "Apache-HttpClient": "a Java program",
	"Wget": "Wget", "curl": "curl",
}

// programName names a user agent that is one of a program, by the first product
// it names (RFC 9110 §10.1.5), and by Apple's system where its library says so.
func programName(userAgent, name string) string {
	if ours := programNames[name]; ours != "" {
		return ours
	}
	if name == "" {
		return unknown
	}
	if strings.Contains(userAgent, "CFNetwork/") || strings.Contains(userAgent, "Darwin/") {
		if strings.Contains(userAgent, "Mac OS X") || strings.Contains(userAgent, "macOS") {
			return name + " on macOS"
		}
		return name + " on an Apple device"
	}
	if place := place(userAgent); place != "" {
		return name + " on " + place
	}
	return name
}

// product returns the name in front of the first "/" or "(", or nothing if that
// is not one that can be shown.
func product(userAgent string) string {
	name := userAgent
	if end := strings.IndexAny(name, "/("); end >= 0 {
		name = name[:end]
	}
	name = strings.TrimSpace(strings.ReplaceAll(name, "%20", " "))
	if len(name) > maxProduct || strings.Trim(name, " ._+-") == "" {
		return ""
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(" ._+-", c) >= 0:
		default:
			return ""
		}
	}
	return name
}
