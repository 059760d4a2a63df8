package issued

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// list is what was revoked.
type list []entry

// entry is about one token, or about those of a label that were issued up to a
// moment.
type entry struct {
	ID     string    `json:"id,omitempty"`
	Label  string    `json:"label,omitempty"`
	Before time.Time `json:"before,omitzero"` // and at that moment
	// Issued is up to when tokens were issued, if that is later than Before: by a clock that
	// was set back since. Proofs of the label are judged by Before alone.
	Issued time.Time `json:"issued,omitzero"`
	// Until is when the last of them would have ended anyway.
	Until time.Time `json:"until"`
}

const (
	// maxRevoked bounds the list, and with it the file.
	maxRevoked = 10_000
	// maxKnown bounds what a process remembers of lists, above all that a file of maxFile bytes
	// can have.
	maxKnown = 10 * maxRevoked
)

// revocations is lists made ready to be asked for each request.
type revocations struct {
	ids    map[string]time.Time // until when they matter
	labels map[string]entry     // with the latest Before and Until
}

// index returns the list made ready.
func (l list) index() revocations {
	r := revocations{make(map[string]time.Time), make(map[string]entry)}
	r.add(l)
	return r
}

// add adds a list.
func (r revocations) add(l list) {
	for _, e := range l {
		if e.ID != "" {
			r.ids[e.ID] = later(r.ids[e.ID], e.Until)
		}
		if e.Label != "" {
			old := r.labels[e.Label]
			r.labels[e.Label] = entry{Before: later(old.Before, e.Before), Issued: later(old.Issued, e.Issued), Until: later(old.Until, e.Until)}
		}
	}
}

// forget drops what is about tokens that have ended anyway.
func (r revocations) forget(now time.Time) {
	maps.DeleteFunc(r.ids, func(_ string, until time.Time) bool { return !now.Before(until) })
	maps.DeleteFunc(r.labels, func(_ string, e entry) bool { return !now.Before(e.Until) })
}

func (r revocations) len() int { return len(r.ids) + len(r.labels) }

// has reports whether a token was revoked.
func (r revocations) has(token *Token) bool {
	if _, ok := r.ids[token.ID]; ok {
		return true
	}
	e, ok := r.labels[token.Label]
	return ok && !token.Issued.After(e.issued())
}

// ofLabel reports whether what proved a label at a time was revoked with the label.
func (r revocations) ofLabel(label string, at time.Time) bool {
	e, ok := r.labels[label]
	return ok && !at.After(e.Before)
}

// issued returns up to when the tokens of the label were issued that are revoked.
func (e entry) issued() time.Time { return later(e.Before, e.Issued) }

// RevokeToken ends one token before its time. Whether it was good is not looked at
// any further than that it was issued here.
func (t *Tokens) RevokeToken(ctx context.Context, token *Token) error {
	return t.add(ctx, entry{ID: token.ID, Until: token.Expires})
}

// RevokeID ends the token with an id, which may be good for as long as any token.
func (t *Tokens) RevokeID(ctx context.Context, id string) error {
	return t.add(ctx, entry{ID: id, Until: t.now().Add(MaxTTL)})
}

// RevokeLabel ends all tokens of a label that were issued up to now. If the clock was set back,
// those are among them that were issued in the same directory before, but not those of replicas.
// If it is not known when those were issued, the error says so, and the others have been revoked.
func (t *Tokens) RevokeLabel(ctx context.Context, label string) error {
	return t.add(ctx, entry{Label: label, Before: t.now()})
}

// RevokeAll ends all tokens that were issued up to now, by another key.
func (t *Tokens) RevokeAll(ctx context.Context) error {
	if t.keyFile != "" {
		return fmt.Errorf("the key is in %s, which others share; to end all tokens, put another key there", t.keyFile)
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := t.newKey(); err != nil {
		return err
	}
	if err := t.writeList(list{}); err != nil {
		return err
	}
	return t.forgetIssued()
}

// add adds to the list, and drops what has ended anyway.
func (t *Tokens) add(ctx context.Context, e entry) error {
	unlock, err := t.lockList(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	revoked, err := t.readList()
	if err != nil {
		return err
	}
	now := t.now()
	var unknown error
	if e.Label != "" {
		last, err := t.lastIssued()
		if err != nil {
			unknown = fmt.Errorf("the tokens of %q are revoked, but not those of a clock that was set back: %w", e.Label, err)
		}
		// Those of the label that were issued since it was last revoked carry a second that may
		// still be to come (see Issue), also where the last one is not known.
		for _, old := range revoked {
			if old.Label == e.Label {
				e.Before = later(e.Before, old.Before)
				last = later(last, old.issued().Truncate(time.Second).Add(time.Second))
			}
		}
		if last.After(e.Before) {
			e.Issued = last
		}
		e.Until = e.issued().Add(MaxTTL)
	}
	revoked = slices.DeleteFunc(revoked, func(old entry) bool {
		return !now.Before(old.Until) || old.ID == e.ID && old.Label == e.Label
	})
	if len(revoked) >= maxRevoked {
		return fmt.Errorf("%d tokens are revoked already, and no more can be; %s", maxRevoked, t.endAll())
	}
	return cmp.Or(t.writeList(append(revoked, e)), unknown)
}

// lockList keeps other processes from changing the list, on other machines too if they share it.
func (t *Tokens) lockList(ctx context.Context) (unlock func(), err error) {
	if t.listFile == "" {
		return t.lock(ctx)
	}
	if unlock, err = lockLike(ctx, t.listFile+".lock", t.listFile); err != nil {
		return nil, fmt.Errorf("%w; where the list of revoked tokens is mounted, change what is mounted", err)
	}
	return unlock, nil
}

func (t *Tokens) writeList(revoked list) error {
	raw, err := json.Marshal(revoked)
	if err != nil {
		return err
	}
	if raw = append(raw, '\n'); t.listFile != "" {
		err = safefile.Rewrite(t.listFile, raw) // replicas may be other users
	} else {
		err = safefile.WriteForOwner(t.listPath(), raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the list of revoked tokens: %w", err)
	}
	return nil
}

// listGone returns the error of a list that must be there.
func (t *Tokens) listGone() error {
	return fmt.Errorf("the list of revoked tokens %s is gone; put it back; or if none was ever revoked, make an empty one: (umask 077; echo [] > %s); or %s",
		t.listPath(), t.listPath(), t.endAll())
}

// endAll says how to end all tokens.
func (t *Tokens) endAll() string {
	if t.keyFile != "" {
		return "to end all tokens put another key into " + t.keyFile
	}
	return "to end all tokens run: agentproxy token revoke --all"
}

// readList returns what was revoked. A list that others share must be there, and so must one
// beside a key that was made here.
func (t *Tokens) readList() (revoked list, err error) {
	path, tooWide, remedy := t.listPath(), safefile.BeyondOwner, t.endAll()
	if t.listFile != "" {
		tooWide, remedy = safefile.OthersWrite, "put back what was there; one that is empty is []"
	}
	raw, err := safefile.ReadPrivate(path, maxFile, tooWide)
	if errors.Is(err, fs.ErrNotExist) && t.listFile == "" {
		if _, err := os.Lstat(t.keyPath()); t.keyFile == "" && !errors.Is(err, fs.ErrNotExist) {
			return nil, t.listGone()
		}
		return nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no list of revoked tokens %s; make an empty one: echo [] > %s", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of revoked tokens %s: %w", path, safefile.Cause(err))
	}
	if err := json.Unmarshal(raw, &revoked); err != nil {
		return nil, fmt.Errorf("%s: it is no list of revoked tokens: %w; %s", path, err, remedy)
	}
	for i, e := range revoked {
		if e.Until.IsZero() || e.ID == "" && (e.Label == "" || e.Before.IsZero()) {
			return nil, fmt.Errorf("%s: entry %d of the list of revoked tokens lacks until, or an id, or a label and before; %s", path, i+1, remedy)
		}
	}
	if revoked == nil {
		return nil, fmt.Errorf("%s: it is no list of revoked tokens; %s", path, remedy)
	}
	return revoked, nil
}

// keyIDOf returns what tells key from others, and says nothing of it.
func keyIDOf(key []byte) (id keyID) {
	sum := sha256.Sum256(append([]byte("agentproxy client tokens\n"), key...))
	copy(id[:], sum[:])
	return id
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
