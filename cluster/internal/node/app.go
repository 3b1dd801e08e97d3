package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// AppRepository is the name of the image that AppImage makes, without its tag.
const AppRepository = "umbra-app"

// epoch is the time of everything in the image, so that the same binary makes the same bytes.
var epoch = time.Unix(0, 0).UTC()

// AppTag is the name that AppImage gives to the image of a binary: the same for the same bytes.
func AppTag(binary string) (string, error) {
	f, err := os.Open(binary)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return AppRepository + ":" + hex.EncodeToString(h.Sum(nil))[:12], nil
}

// AppImage writes the image of umbra's own app, made from a static linux binary, to w as a docker archive: nothing but
// /umbra and an empty /tmp, in which the app keeps its receipts. It starts "/umbra app".
func AppImage(binary string, w io.Writer) (tag string, err error) {
	arch, err := staticLinux(binary)
	if err != nil {
		return "", err
	}
	if tag, err = AppTag(binary); err != nil {
		return "", err
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		return "", err
	}
	image, err := appImage(binary, arch)
	if err != nil {
		return "", err
	}
	return tag, tarball.Write(ref, image, w)
}

// appImage is the image; its one layer is not compressed, as it goes no further than into a node on this machine, and
// is read from the binary each time that it is needed.
func appImage(binary, arch string) (v1.Image, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return appLayer(binary) }, tarball.WithCompression(compression.None))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: epoch}
	config.Config.Entrypoint = []string{"/umbra", "app"}
	return mutate.ConfigFile(image, config)
}

// appLayer streams the files as tar. A binary that shrinks meanwhile is an error, one that grows is cut.
func appLayer(binary string) (io.ReadCloser, error) {
	f, err := os.Open(binary)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	var head, trailer bytes.Buffer
	t := tar.NewWriter(&head)
	err = errors.Join(
		t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, ModTime: epoch, Format: tar.FormatUSTAR}),
		t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "umbra", Mode: 0o755, Size: info.Size(), ModTime: epoch, Format: tar.FormatUSTAR}))
	if err != nil {
		f.Close()
		return nil, err
	}
	const block = 512 // of tar: a file is filled up to one, and two empty ones are the end
	trailer.Write(make([]byte, (block-info.Size()%block)%block+2*block))
	body := io.MultiReader(&head, exactly(f, info.Size()), &trailer)
	return struct {
		io.Reader
		io.Closer
	}{body, f}, nil
}

// exactly reads n bytes of r; fewer are an error.
func exactly(r io.Reader, n int64) io.Reader {
	return &exact{io.LimitedReader{R: r, N: n}}
}

type exact struct{ r io.LimitedReader }

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err == io.EOF && e.r.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// AppBinary is the binary to make the app's image of, for a node of an architecture: override where it is given, else
// this program itself. It must be a linux binary of that architecture that needs no other file.
func AppBinary(override, arch string) (string, error) {
	binary := override
	if binary == "" {
		own, err := os.Executable()
		if err != nil {
			return "", err
		}
		binary = own
	}
	got, err := staticLinux(binary)
	if err == nil && got != arch {
		err = fmt.Errorf("%s is for %s, the node is %s", binary, got, arch)
	}
	if err != nil {
		return "", fmt.Errorf("%w; make one by `CGO_ENABLED=0 GOOS=linux GOARCH=%s go build -o umbra-linux ./cmd/umbra` and set UMBRA_APP_BINARY=umbra-linux, or name a published image by UMBRA_APP_IMAGE", err, arch)
	}
	return binary, nil
}

// machines are Go's words for what an ELF header says of the processor.
var machines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64",
}

// staticLinux gives a binary's architecture, and an error where it would not start in an empty image: a program that
// is linked dynamically names its loader in a segment PT_INTERP (System V ABI, program header).
func staticLinux(binary string) (arch string, err error) {
	f, err := elf.Open(binary)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) {
			return "", fmt.Errorf("%s is no linux binary", binary)
		}
		return "", err
	}
	defer f.Close()
	if f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return "", fmt.Errorf("%s is no linux program (%s, %s)", binary, f.OSABI, f.Type)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is linked dynamically, and the app's image has no libraries", binary)
		}
	}
	arch, ok := machines[f.Machine]
	if !ok {
		return "", fmt.Errorf("%s is for %s, which no node is", binary, f.Machine)
	}
	return arch, nil
}
