package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// member is one member of a JSON object that is edited.
type member struct {
	name string
	text json.RawMessage // name as it was written, for "\ud800" is no Go string
	raw  json.RawMessage
}

// jsonObject is a JSON object whose members keep their order and, unless they
// are set, their text: what we do not know of survives an edit to the letter.
type jsonObject []member

func parseJSONObject(raw []byte) (jsonObject, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if token != json.Delim('{') {
		return nil, errors.New("expected object")
	}
	var o jsonObject
	for dec.More() {
		before := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		text := bytes.TrimLeft(raw[before:dec.InputOffset()], ", \t\r\n")
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		o = append(o, member{name.(string), text, value})
	}
	return o, nil
}

func (o jsonObject) get(name string) json.RawMessage {
	for _, m := range o {
		if m.name == name {
			return m.raw
		}
	}
	return nil
}

// set replaces the member called name, or adds it at the end.
func (o *jsonObject) set(name string, raw json.RawMessage) {
	for i, m := range *o {
		if m.name == name {
			(*o)[i].raw = raw
			return
		}
	}
	*o = append(*o, member{name, quoteJSON(name), raw})
}

func (o *jsonObject) setString(name, value string) { o.set(name, quoteJSON(value)) }

func quoteJSON(s string) json.RawMessage { return appendJSONString(nil, s) }

// compact returns the object's text on one line, strings as they were.
func (o jsonObject) compact() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(m.text)
		b.WriteByte(':')
		b.Write(m.raw)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// text returns the object's text as Codex lays out its files.
func (o jsonObject) text() ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, o.compact(), "", "  "); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// withTokens returns the auth.json raw with the tokens of r in place of its own,
// and lastRefresh. Nothing else changes.
func withTokens(raw []byte, r refreshed, lastRefresh string) ([]byte, error) {
	o, err := parseJSONObject(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	if err != nil {
		return nil, err
	}
	tokens, err := parseJSONObject(o.get("tokens"))
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	for _, t := range []struct {
		name  string
		value Secret
	}{{"id_token", r.IDToken}, {"access_token", r.AccessToken}, {"refresh_token", r.RefreshToken}} {
		if t.value != "" {
			tokens.setString(t.name, t.value.Reveal())
		}
	}
	o.set("tokens", tokens.compact())
	o.setString("last_refresh", lastRefresh)
	return o.text()
}

// withRecord returns the auth.json raw with record, JSON text, as its
// agent_identity.
func withRecord(raw, record []byte) ([]byte, error) {
	o, err := parseJSONObject(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	if err != nil {
		return nil, err
	}
	o.set("agent_identity", bytes.TrimSpace(record))
	return o.text()
}
