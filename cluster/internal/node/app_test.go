package node

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// program writes an ELF file of a header, one program header and some bytes.
func program(t testing.TB, machine elf.Machine, kind elf.Type, abi elf.OSABI, segment elf.ProgType) string {
	t.Helper()
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT), byte(abi)},
		Type:  uint16(kind), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	var b bytes.Buffer
	if err := errors.Join(
		binary.Write(&b, binary.LittleEndian, header),
		binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(segment)})); err != nil {
		t.Fatal(err)
	}
	b.WriteString("the app")
	return file(t, b.Bytes())
}

func file(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "umbra")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAppBinary(t *testing.T) {
	for _, c := range []struct {
		name, binary string
		want         string // of the error; "" for none
	}{
		{"static", program(t, elf.EM_AARCH64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD), ""},
		{"static, at any address", program(t, elf.EM_AARCH64, elf.ET_DYN, elf.ELFOSABI_LINUX, elf.PT_LOAD), ""},
		{"dynamic", program(t, elf.EM_AARCH64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_INTERP), "linked dynamically"},
		{"another architecture", program(t, elf.EM_X86_64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD), "is for amd64, the node is arm64"},
		{"no node's architecture", program(t, elf.EM_VAX, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD), "EM_VAX"},
		{"another system", program(t, elf.EM_AARCH64, elf.ET_EXEC, elf.ELFOSABI_FREEBSD, elf.PT_LOAD), "no linux program"},
		{"a core dump", program(t, elf.EM_AARCH64, elf.ET_CORE, elf.ELFOSABI_NONE, elf.PT_LOAD), "no linux program"},
		{"of macOS", file(t, []byte("\xcf\xfa\xed\xfe and so on and on")), "no linux binary"},
		{"empty", file(t, nil), "no linux binary"},
		{"none", filepath.Join(t.TempDir(), "none"), "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := AppBinary(c.binary, "arm64")
			if c.want == "" {
				if got != c.binary || err != nil {
					t.Errorf("AppBinary = %q, %v", got, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("AppBinary = %q, want an error", got)
			}
			for _, text := range []string{c.want, "CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build", "UMBRA_APP_BINARY", "UMBRA_APP_IMAGE"} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
		})
	}
}

func TestAppImage(t *testing.T) {
	binary := program(t, elf.EM_X86_64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD)
	archive, tag := makeImage(t, binary)
	again, _ := makeImage(t, binary)
	if !bytes.Equal(archive, again) {
		t.Error("the same binary made another image")
	}
	if want, err := AppTag(binary); tag != want || err != nil || len(tag) != len("umbra-app:")+12 {
		t.Errorf("tag %q, AppTag %q, %v", tag, want, err)
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, &ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "amd64" || !slices.Equal(config.Config.Entrypoint, []string{"/umbra", "app"}) {
		t.Errorf("config %+v", config)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	layer, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	wantFiles(t, layer, binary)
}

func makeImage(t *testing.T, binary string) (archive []byte, tag string) {
	t.Helper()
	var b bytes.Buffer
	tag, err := AppImage(binary, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), tag
}

// wantFiles wants an empty /tmp for everybody, and the binary.
func wantFiles(t *testing.T, layer io.Reader, binary string) {
	t.Helper()
	want, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(layer)
	tmp, err := r.Next()
	if err != nil || tmp.Name != "tmp/" || tmp.Mode != 0o1777 || tmp.Typeflag != tar.TypeDir {
		t.Errorf("first %+v, %v; want /tmp", tmp, err)
	}
	umbra, err := r.Next()
	if err != nil || umbra.Name != "umbra" || umbra.Mode != 0o755 {
		t.Fatalf("second %+v, %v; want /umbra", umbra, err)
	}
	if got, err := io.ReadAll(r); !bytes.Equal(got, want) || err != nil {
		t.Errorf("/umbra has %d bytes (%v), the binary %d", len(got), err, len(want))
	}
	if more, err := r.Next(); err != io.EOF {
		t.Errorf("third %+v, %v; want the end", more, err)
	}
}

func TestAppImageTellsABinaryThatShrinks(t *testing.T) {
	if _, err := io.ReadAll(exactly(strings.NewReader("cut"), 4)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want that it ended too early", err)
	}
}

func TestAppImageRefuses(t *testing.T) {
	var b bytes.Buffer
	if tag, err := AppImage(file(t, []byte("#!/bin/sh\n exit 0 # a script")), &b); err == nil || b.Len() > 0 {
		t.Errorf("AppImage = %q, %v, wrote %d bytes; want an error and nothing", tag, err, b.Len())
	}
}

func BenchmarkAppImage(b *testing.B) {
	header, err := os.ReadFile(program(b, elf.EM_X86_64, elf.ET_EXEC, elf.ELFOSABI_NONE, elf.PT_LOAD))
	if err != nil {
		b.Fatal(err)
	}
	binary := file(b, append(header, make([]byte, 40<<20)...))
	b.SetBytes(40 << 20)
	for b.Loop() {
		if _, err := AppImage(binary, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
