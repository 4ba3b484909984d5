package story

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"unicode/utf8"
)

// Epoch is the timestamp that those of records count from. Topics whose records have it keep them forever.
const Epoch int64 = 1_700_000_000_000

// Header is a header of a record; a nil value is not an empty one.
type Header struct {
	Key   string
	Value []byte
}

// Record is what every driver produces, as far as its client can say it.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Timestamp  int64
}

// Records are the kinds of keys, values and headers that a broker must carry unchanged.
func Records() []Record {
	records := []Record{
		{Value: []byte("no key")},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("no value")},
		{Key: []byte{0, 1, 0xfe, 0xff}, Value: []byte{0xff, 0}, Headers: []Header{{"twice", []byte("1")}, {"twice", []byte("2")}, {"empty", []byte{}}, {"null", nil}, {"", []byte{0xff}}}},
		{Key: []byte("large"), Value: Text(300_000)},
		{Key: []byte("schlüssel"), Value: []byte("wert €"), Headers: []Header{{"kopf ü", []byte("ß")}}},
	}
	for i := range records {
		records[i].Timestamp = Epoch + int64(i)*1000
	}
	return records
}

// Text compresses well.
func Text(length int) []byte {
	return bytes.Repeat([]byte("a broker whose disk is an object store; "), length/40+1)[:length]
}

// Noise does not compress.
func Noise(length int) []byte {
	var noise []byte
	for block := sha256.Sum256(nil); len(noise) < length; block = sha256.Sum256(block[:]) {
		noise = append(noise, block[:]...)
	}
	return noise[:length]
}

// Show tells bytes apart in an observation: nil, short text, other short bytes in hex, long ones by length and digest.
func Show(b []byte) any {
	switch {
	case b == nil:
		return nil
	case len(b) > 64:
		digest := sha256.Sum256(b)
		return fmt.Sprintf("%d bytes, sha256 %s", len(b), hex.EncodeToString(digest[:8]))
	case utf8.Valid(b) && bytes.IndexByte(b, 0) < 0:
		return string(b)
	default:
		return "0x" + hex.EncodeToString(b)
	}
}
