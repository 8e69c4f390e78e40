package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/byway-chat/byway/cmd/internal/lab"
)

// complaints is what a browser has said about a page, and what the page has asked for besides itself.
type complaints struct {
	mu   sync.Mutex
	list []string
}

func (c *complaints) take(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		c.list = append(c.list, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		c.list = append(c.list, fmt.Sprint("console: ", e.Type))
	case *log.EventEntryAdded:
		c.list = append(c.list, "log: "+e.Entry.Text)
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, "file:") && !strings.HasPrefix(u, "data:") {
			c.list = append(c.list, "request: "+u)
		}
	}
}

// browser starts a Chromium without a window, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium: the page is not opened in a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	return ctx
}

// TestInABrowser opens the page in light, in dark and as it is printed: nothing is complained about, asked for elsewhere, or wider than the window, and
// what matters can be read.
func TestInABrowser(t *testing.T) {
	ctx := browser(t)
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(write(t, facts(), experiment())), 0o600); err != nil {
		t.Fatal(err)
	}
	var said complaints
	if err := chromedp.Listen(ctx, said.take); err != nil {
		t.Fatal(err)
	}
	for _, media := range []struct {
		name, kind, scheme, ground string
		width                      int64
	}{
		{"light", "screen", "light", "rgb(255, 255, 255)", 1000},
		{"dark", "screen", "dark", "rgb(20, 24, 29)", 1000},
		{"narrow", "screen", "light", "rgb(255, 255, 255)", 360},
		{"print", "print", "dark", "rgb(255, 255, 255)", 650}, // the width of A4 without its margins, nearly
	} {
		t.Run(media.name, func(t *testing.T) {
			timed, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			_, err := chromedp.Call(timed, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Media: media.kind, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: media.scheme}},
			})
			if err == nil {
				err = chromedp.Do(timed, chromedp.EmulateViewport(media.width, 800), chromedp.Navigate("file://"+path))
			}
			if err != nil {
				t.Fatal(err)
			}
			look(timed, t, media.ground, media.kind == "print")
		})
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	for _, what := range said.list {
		t.Error(what)
	}
}

// look asks the browser what it shows.
func look(ctx context.Context, t *testing.T, ground string, paper bool) {
	t.Helper()
	type shown struct {
		Title, Ground, Ink string
		Pictures, Words    int
		Wide, Hidden       bool // wider than the window; cut off where nobody can scroll
		Sent               string
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[shown](`({
		title: document.title, ground: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
		pictures: [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 20).length,
		words: document.querySelectorAll('svg > title + desc').length,
		wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
		hidden: [...document.querySelectorAll('table, figure svg')].some(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1),
		sent: document.querySelector('.verdict').textContent})`))
	if err != nil {
		t.Fatal(err)
	}
	total := lab.Compute(experiment()).Total
	if got.Title != "byway lab: alice to bob" || got.Ground != ground || got.Ink == got.Ground || got.Pictures != 3 || got.Words != 3 || got.Wide || paper && got.Hidden {
		t.Errorf("got %+v", got)
	}
	if want := fmt.Sprintf("%d messages sent, %d delivered", total.Sent, total.Arrived); !strings.Contains(got.Sent, want) {
		t.Errorf("got %q, want %q in it", got.Sent, want)
	}
}
