package netconn

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefuser answers whoever sends a request, however many are silent: the one that has been for
// longest makes room.
func TestRefuser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &Refuser{Most: 2, Timeout: time.Minute}
		refuse := func() (peer net.Conn) {
			conn, peer := net.Pipe()
			go func() {
				defer conn.Close()
				r.Refuse(conn, []byte("busy"))
			}()
			synctest.Wait()
			return peer
		}
		isAnswered := func(who string, peer net.Conn) {
			t.Helper()
			if _, err := io.WriteString(peer, "GET"); err != nil {
				t.Fatal(who, err)
			}
			if got, err := io.ReadAll(peer); string(got) != "busy" || err != nil {
				t.Errorf("%s: %q, %v", who, got, err)
			}
		}
		first, second := refuse(), refuse()
		for range 10 {
			isAnswered("one of many", refuse())
			synctest.Wait()
			if n := r.Waiting(); n > 2 {
				t.Errorf("%d are waited for", n)
			}
		}
		for who, peer := range map[string]net.Conn{"the first": first, "the second": second} {
			_ = peer.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := peer.Read(make([]byte, 1)); who == "the first" && err != io.EOF || who == "the second" && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %d bytes, %v", who, n, err)
			}
		}
		_ = second.SetReadDeadline(time.Time{})
		isAnswered("the second", second)
		begun := time.Now()
		if got, err := io.ReadAll(refuse()); len(got) > 0 || err != nil || time.Since(begun) != r.Timeout {
			t.Errorf("a silent one: %q, %v after %s", got, err, time.Since(begun))
		}
		if synctest.Wait(); r.Waiting() != 0 {
			t.Errorf("%d are waited for", r.Waiting())
		}
	})
}
