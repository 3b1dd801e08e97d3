package redact

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
)

const (
	minKey = 16      // bytes
	maxKey = 1 << 20 // bytes: a larger file was not meant as a key
)

// NewKey makes a random key, for a capture of its own.
func NewKey() []byte {
	key := make([]byte, 32)
	rand.Read(key) // never fails, says its doc
	return key
}

// ReadKey reads a key, so that several captures have the same pseudonyms: the bytes of the file without the line ends at
// its end.
func ReadKey(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w", err)
	}
	defer f.Close()
	key, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return nil, fmt.Errorf("the key cannot be read: %w", err)
	}
	if key = bytes.TrimRight(key, "\r\n"); len(key) > maxKey {
		return nil, fmt.Errorf("%s: larger than %d MiB, so no key; give a file of at least %d random bytes", file, maxKey>>20, minKey)
	}
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func checkKey(key []byte) error {
	if len(key) < minKey {
		return fmt.Errorf("a key of %d bytes can be guessed; give at least %d random bytes", len(key), minKey)
	}
	return nil
}
