package access

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// addressConn is a connection of which nothing is known but who is at its ends.
type addressConn struct {
	net.Conn
	remote net.Addr
}

func (c addressConn) RemoteAddr() net.Addr { return c.remote }
func (c addressConn) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080}
}

// peerAt returns a client at an address of another machine.
func peerAt(last byte) *Peer {
	return NewPeer(addressConn{remote: &net.TCPAddr{IP: net.IPv4(198, 51, 100, last), Port: 1}})
}

// TestLabelBook paces the new labels of a client, and those of no other.
func TestLabelBook(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	book := NewLabelBook(func() time.Time { return now })
	const most = 4
	use := func(p *Peer, label string) (wait time.Duration) {
		t.Helper()
		refused := book.Use(&Admission{Label: label, peer: p, chosen: true}, most)
		if refused == nil {
			return 0
		}
		if refused.Status != http.StatusServiceUnavailable || refused.Code != "busy" || refused.RetryAfter <= 0 {
			t.Fatalf("%+v", refused)
		}
		return refused.RetryAfter
	}
	many, few := peerAt(1), peerAt(2)
	for i := range most {
		if wait := use(many, fmt.Sprint(i)); wait != 0 {
			t.Fatalf("label %d must wait %s", i, wait)
		}
		now = now.Add(time.Millisecond)
	}
	wait := use(many, "another")
	if each := labelsWindow / most; wait <= 0 || wait > each {
		t.Errorf("a client with %d labels must wait %s for another", most, wait)
	}
	for _, label := range []string{"0", "3", ""} {
		if wait := use(many, label); wait != 0 {
			t.Errorf("the label %q, which is used already, must wait %s", label, wait)
		}
	}
	if wait := use(few, "another"); wait != 0 {
		t.Errorf("another client must wait %s", wait)
	}
	if network, got := book.ClientOf("another"); got != few.Client() || network != got {
		t.Errorf("the label is %s's", got)
	}
	now = now.Add(wait)
	if wait := use(many, "later"); wait != 0 {
		t.Errorf("after the wait it must wait %s", wait)
	}
	if use(many, "too early") == 0 {
		t.Error("two labels after the wait for one")
	}
	if _, got := book.ClientOf("1"); got != "" {
		t.Errorf("the label that was used least is still %s's", got)
	}
	now = now.Add(24 * time.Hour)
	for i := range most {
		if wait := use(many, fmt.Sprint("day ", i)); wait != 0 {
			t.Errorf("a day later label %d must wait %s", i, wait)
		}
	}
	if use(many, "day 4") == 0 {
		t.Error("a day's labels came at once")
	}
}

// TestLabelsOfOthers leaves labels alone that clients do not choose.
func TestLabelsOfOthers(t *testing.T) {
	t.Parallel()
	book := NewLabelBook(time.Now)
	for i := range 10 {
		if refused := book.Use(&Admission{Label: fmt.Sprint(i), peer: peerAt(1)}, 1); refused != nil {
			t.Fatal(refused)
		}
	}
	if _, client := book.ClientOf("1"); len(book.clients) != 0 || client != "" {
		t.Error("they are remembered")
	}
}

// TestLabelBookIsBounded has many clients, each with many labels.
func TestLabelBookIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	book := NewLabelBook(func() time.Time { return now })
	const most = 2
	busy := &Admission{Label: "busy", peer: peerAt(1), chosen: true}
	for i := range maxLabelClients + 100 {
		book.Use(busy, most)
		peer := NewPeer(addressConn{remote: &net.TCPAddr{IP: net.IPv4(198, 51, byte(i>>8), byte(i)), Port: 1}})
		for j := range 2 * most {
			book.Use(&Admission{Label: fmt.Sprint(i, " ", j), peer: peer, chosen: true}, most)
			now = now.Add(time.Second)
		}
		if _, client := book.ClientOf("busy"); client == "" {
			t.Fatal("one that asks all the time is forgotten")
		}
	}
	if len(book.clients) > maxLabelClients || len(book.owners) > most*maxLabelClients {
		t.Errorf("%d clients with %d labels are remembered", len(book.clients), len(book.owners))
	}
	if _, client := book.ClientOf(fmt.Sprint(maxLabelClients+99, " 0")); client == "" {
		t.Error("the last is forgotten")
	}
}

// peerOfNetwork returns a client of a site of IPv6.
func peerOfNetwork(site byte, i int) *Peer {
	ip := net.ParseIP("2001:db8::1")
	ip[5], ip[6], ip[7] = site, byte(i>>8), byte(i)
	return NewPeer(addressConn{remote: &net.TCPAddr{IP: ip, Port: 1}})
}

// TestLabelsOfNetwork has somebody use new labels by all the clients of a site of IPv6. They are
// as many as those of a few clients, and the book forgets no other client for them.
func TestLabelsOfNetwork(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	book := NewLabelBook(func() time.Time { return now })
	const most = 4
	use := func(p *Peer, label string) bool {
		return book.Use(&Admission{Label: label, peer: p, chosen: true}, most) == nil
	}
	if !use(peerAt(1), "quiet") || !use(peerOfNetwork(1, 0), "neighbour") {
		t.Fatal("the first labels must wait")
	}
	used := 0
	for i := range maxLabelClients + 64 { // each of the last forgets one
		now = now.Add(time.Millisecond)
		if use(peerOfNetwork(2, i), fmt.Sprint(i)) {
			used++
		}
	}
	if used > networkClients*most+1 || used < networkClients*most {
		t.Errorf("%d labels are used, want %d", used, networkClients*most)
	}
	for label, peer := range map[string]*Peer{"quiet": peerAt(1), "neighbour": peerOfNetwork(1, 0)} {
		if _, got := book.ClientOf(label); got != peer.Client() {
			t.Errorf("the label %s is %q's", label, got)
		}
		if !use(peer, label+" another") {
			t.Errorf("%s must wait for another", label)
		}
	}
	if len(book.clients) > maxLabelClients || len(book.networks) != 3 {
		t.Errorf("%d clients of %d networks are remembered", len(book.clients), len(book.networks))
	}
	if network, _ := book.ClientOf("0"); network != "2001:db8:2::/48" && network != "" {
		t.Errorf("the network is %s", network)
	}
	now = now.Add(labelsWindow)
	if !use(peerOfNetwork(2, 5), "an hour later") {
		t.Error("the network must wait after an hour")
	}
}

// TestNetwork names clients by address alone.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"198.51.100.7":         "198.51.100.7",
		"::ffff:198.51.100.7":  "198.51.100.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":  "2001:db8:1:2::/64",
		"fe80::1%eth0":         "fe80::/64",
		"::1":                  "::/64",
		"127.0.0.1":            "127.0.0.1",
	} {
		addr := netip.MustParseAddr(remote)
		p := NewPeer(addressConn{remote: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 5))})
		if got := p.Network(); got != want {
			t.Errorf("%s is of %s, want %s", remote, got, want)
		}
	}
	if got := NewPeer(addressConn{remote: &net.UnixAddr{Net: "unix"}}).Network(); got != "" {
		t.Errorf("a Unix socket is of %s", got)
	}
}
