package commands

import "bytes"

// This file has Redis Cluster's hash slots.

// slots is how many hash slots there are; a cluster of redlockd serves all of
// them by one leader.
const slots = 16384

// KeySlot returns the hash slot of a key, 0 to 16383: CRC16 of the key, or of
// its hash tag, which is what stands between the first { and the next } if that
// is not empty.
func KeySlot(key []byte) int {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		tag := key[open+1:]
		if end := bytes.IndexByte(tag, '}'); end > 0 {
			key = tag[:end]
		}
	}
	return int(crc16(key) % slots)
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, high bit first, from 0.
func crc16(data []byte) uint16 {
	var crc uint16
	for _, b := range data {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^b]
	}
	return crc
}

var crcTable = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			high := crc & 0x8000
			crc <<= 1
			if high != 0 {
				crc ^= 0x1021
			}
		}
		t[i] = crc
	}
	return t
}()
