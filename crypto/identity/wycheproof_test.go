package identity

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
)

// hexBytes is how Wycheproof writes bytes.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

type wycheproofFile struct {
	TestGroups []struct {
		KeySize         int
		Sha, MgfSha     string
		SLen            int
		PrivateKeyPkcs8 hexBytes
		PublicKeyDer    hexBytes
		Tests           []struct {
			TcID                int
			Comment, Result     string
			Flags               []string
			Msg, Ct, Label, Sig hexBytes
		}
	}
}

func readWycheproof(t *testing.T, name string) wycheproofFile {
	t.Helper()
	b, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var f wycheproofFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestWycheproofOAEP runs every published OAEP vector for SHA-256 with MGF1-SHA-256 through the call that opens Inits.
// Those with a label must open with it and not with Byway's, which is empty.
func TestWycheproofOAEP(t *testing.T) {
	ran := 0
	for _, name := range []string{
		"rsa_oaep_2048_sha256_mgf1sha256_test.json",
		"rsa_oaep_3072_sha256_mgf1sha256_test.json",
		"rsa_oaep_4096_sha256_mgf1sha256_test.json",
		"rsa_oaep_misc_test.json",
	} {
		for _, group := range readWycheproof(t, name).TestGroups {
			if group.Sha != "SHA-256" || group.MgfSha != "SHA-256" {
				continue
			}
			parsed, err := x509.ParsePKCS8PrivateKey(group.PrivateKeyPkcs8)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, tc := range group.Tests {
				ran++
				got, err := openOAEP(parsed.(*rsa.PrivateKey), tc.Ct, tc.Label)
				want := tc.Result != "invalid"
				if (err == nil) != want {
					t.Errorf("%s %d (%s): error %v, want opened %v", name, tc.TcID, tc.Comment, err, want)
				}
				if _, err := openOAEP(parsed.(*rsa.PrivateKey), tc.Ct, nil); len(tc.Label) > 0 && err == nil {
					t.Errorf("%s %d (%s): opened without its label", name, tc.TcID, tc.Comment)
				}
				if want && !bytes.Equal(got, tc.Msg) {
					t.Errorf("%s %d (%s): got %x, want %x", name, tc.TcID, tc.Comment, got, tc.Msg)
				}
			}
		}
	}
	if ran < 100 {
		t.Errorf("ran only %d vectors", ran)
	}
}

// TestWycheproofPSS runs every published PSS vector for SHA-256, MGF1-SHA-256 and a salt of 32 through the call that verifies.
func TestWycheproofPSS(t *testing.T) {
	ran := 0
	for _, name := range []string{
		"rsa_pss_2048_sha256_mgf1_32_test.json",
		"rsa_pss_3072_sha256_mgf1_32_test.json",
		"rsa_pss_4096_sha256_mgf1_32_test.json",
		"rsa_pss_misc_test.json",
	} {
		for _, group := range readWycheproof(t, name).TestGroups {
			if group.Sha != "SHA-256" || group.MgfSha != "SHA-256" || group.SLen != pssSalt {
				continue
			}
			parsed, err := x509.ParsePKIXPublicKey(group.PublicKeyDer)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, tc := range group.Tests {
				ran++
				digest := sha256.Sum256(tc.Msg)
				err := verifyPSS(parsed.(*rsa.PublicKey), digest[:], tc.Sig)
				want := tc.Result == "valid"
				if (err == nil) != want {
					t.Errorf("%s %d (%s): error %v, want verified %v", name, tc.TcID, tc.Comment, err, want)
				}
			}
		}
	}
	if ran < 300 {
		t.Errorf("ran only %d vectors", ran)
	}
}
