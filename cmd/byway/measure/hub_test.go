package measure_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The yardstick. A client connects by TLS 1.3, shows a token in a line of text, and is told "ok". From then on the hub hands each of its frames
// (a length of four bytes, big-endian, and the content) to the client that it named, or drops it where that one is not there. Nothing is
// kept. It is as simple as a hub can be that never lets one slow client hold up others: each client has a queue and a goroutine that writes.

// hubMaxFrame is the largest frame in bytes, as at the rendezvous.
const hubMaxFrame = 256 << 10

// hubSecret makes tokens. A real one would not be in the source.
var hubSecret = []byte("measure")

func hubToken(name string) string {
	m := hmac.New(sha256.New, hubSecret)
	m.Write([]byte(name))
	return hex.EncodeToString(m.Sum(nil))
}

// hub is the yardstick's server.
type hub struct {
	mu      sync.Mutex
	clients map[string]*hubClient // guarded by mu
}

// hubClient is one connection.
type hubClient struct {
	conn  net.Conn
	queue chan []byte   // frames to be written
	gone  chan struct{} // closed when it reads no more
}

// hubMain prints where it listens and its certificate, and serves until standard input ends.
func hubMain() int {
	signal.Ignore(syscall.SIGTERM) // whoever stops it also ends its input
	certificate, err := selfSigned()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.Addr(), base64.StdEncoding.EncodeToString(certificate.Certificate[0]))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	h := &hub{clients: map[string]*hubClient{}}
	for {
		conn, err := l.Accept()
		if err != nil {
			return 0
		}
		go h.serve(conn)
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// serve reads from one client.
func (h *hub) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	hello, err := r.ReadString('\n')
	if err != nil {
		return
	}
	words := strings.Fields(hello) // name, token, the partner's name, mode
	if len(words) != 4 || !hmac.Equal([]byte(words[1]), []byte(hubToken(words[0]))) {
		return
	}
	if _, err := io.WriteString(conn, "ok\n"); err != nil {
		return
	}
	c := &hubClient{conn: conn, queue: make(chan []byte, 256), gone: make(chan struct{})}
	h.mu.Lock()
	h.clients[words[0]] = c
	h.mu.Unlock()
	go c.write(words[3] == "coalesced")
	defer close(c.gone)
	for {
		frame, err := readHubFrame(r)
		if err != nil {
			return
		}
		h.mu.Lock()
		partner := h.clients[words[2]]
		h.mu.Unlock()
		if partner == nil {
			continue
		}
		select {
		case partner.queue <- frame:
		case <-partner.gone:
		}
	}
}

// write writes each frame by itself, or what has gathered until the queue is empty.
func (c *hubClient) write(coalesced bool) {
	w := bufio.NewWriter(c.conn)
	for {
		select {
		case frame := <-c.queue:
			if _, err := w.Write(frame); err != nil {
				return
			}
			if coalesced && len(c.queue) > 0 {
				continue
			}
			if err := w.Flush(); err != nil {
				return
			}
		case <-c.gone:
			return
		}
	}
}

// readHubFrame returns a frame with its length.
func readHubFrame(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > hubMaxFrame {
		return nil, io.ErrShortBuffer
	}
	frame := make([]byte, 4+size)
	_, err = io.ReadFull(r, frame)
	return frame, err
}
