package commands

import (
	"fmt"
	"strings"
	"testing"
)

// TestKeySlot has the check value of CRC-16/XMODEM, well-known slots (that of
// {a}b was asked of redis-server 7.0.15), and the rules of hash tags.
func TestKeySlot(t *testing.T) {
	if got := crc16([]byte("123456789")); got != 0x31C3 {
		t.Errorf("the check value is %#x, want 0x31c3", got)
	}
	for key, want := range map[string]int{
		"": 0, "a": 15495, "{a}b": 15495, "foo{hash_tag}": 2515, "hash_tag": 2515, "123456789": 0x31C3 % 16384,
		"somekey": 11058, "foo": 12182, "bar": 5061,
	} {
		if got := KeySlot([]byte(key)); got != want {
			t.Errorf("%q is in slot %d, want %d", key, got, want)
		}
	}
	for _, same := range [][2]string{
		{"{user1000}.following", "user1000"},
		{"foo{bar}{zap}", "bar"},      // the first tag counts
		{"foo{{bar}}zap", "{bar"},     // up to the first }
		{"x}y{tag}z", "tag"},          // a } ahead of the { means nothing
		{"{a\x00\xff}b", "a\x00\xff"}, // any bytes
	} {
		if a, b := KeySlot([]byte(same[0])), KeySlot([]byte(same[1])); a != b {
			t.Errorf("%q is in slot %d, %q in %d", same[0], a, same[1], b)
		}
	}
	for _, whole := range []string{"foo{}{bar}", "{}", "a{b", "}{"} {
		if got, want := KeySlot([]byte(whole)), int(crc16([]byte(whole))%16384); got != want {
			t.Errorf("%q has no tag, and is in slot %d, want %d", whole, got, want)
		}
	}
}

// TestKeySlotBitwise holds the table against the definition, bit by bit.
func TestKeySlotBitwise(t *testing.T) {
	slow := func(data string) uint16 {
		var crc uint16
		for i := range len(data) {
			for bit := 7; bit >= 0; bit-- {
				top := crc>>15 != 0
				crc <<= 1
				if top != (data[i]>>bit&1 != 0) {
					crc ^= 0x1021
				}
			}
		}
		return crc
	}
	for i := range 512 {
		s := strings.Repeat(fmt.Sprint(i*i), 1+i%7)
		if got, want := crc16([]byte(s)), slow(s); got != want {
			t.Fatalf("%q: %#x, want %#x", s, got, want)
		}
	}
}

func BenchmarkKeySlot(b *testing.B) {
	key := []byte("orders:{42}:lock")
	b.ReportAllocs()
	for b.Loop() {
		KeySlot(key)
	}
}
