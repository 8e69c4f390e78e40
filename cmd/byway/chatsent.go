package main

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/byway-chat/byway/peer"
)

// Bounds of what a chat remembers of its own messages.
const (
	maxUnderWay = 1024
	excerptSize = 24 // characters of a text that name it
)

// underWayTexts knows the texts of this chat's messages that are not delivered yet, so that a mark can say which one it is for.
type underWayTexts struct {
	mu    sync.Mutex // guards the following
	count int
	texts map[string]string // by the id in the message's ref
}

// add remembers a text and returns the id for its ref.
func (u *underWayTexts) add(text string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.texts == nil {
		u.texts = map[string]string{}
	}
	u.count++
	delete(u.texts, strconv.Itoa(u.count-maxUnderWay))
	id := strconv.Itoa(u.count)
	u.texts[id] = text
	return id
}

// drop forgets a text that was not accepted.
func (u *underWayTexts) drop(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.texts, id)
}

// name returns how the text of a state event begins, in quotes, where another one is under way too; else nothing is to be confused. What has come to its
// end is forgotten.
func (u *underWayTexts) name(e *peer.Event) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	text, known := u.texts[e.Re]
	several := len(u.texts) > 1
	switch e.State {
	case peer.StateDelivered, peer.StateRead, peer.StateFailed:
		delete(u.texts, e.Re)
	case peer.StateAccepted, peer.StateStored: // more is to come
	}
	if !known || !several {
		return ""
	}
	return fmt.Sprintf(": \"%s\"", excerpt(text))
}

// excerpt is the beginning of a text on one line.
func excerpt(text string) string {
	short := []rune(clean(text))
	if len(short) <= excerptSize {
		return string(short)
	}
	return string(short[:excerptSize-3]) + "..."
}
