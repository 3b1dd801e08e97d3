package redact

// nameEnds are what the names of secrets end in. They hold for names of every kind: db_password, accessTokenSecret, X-Plex-Token.
func nameEnds() []string {
	return []string{
		"password", "passwd", "pwd", "passphrase", "passwordconfirm", "passwordconfirmation", "secret", "token", "jwt",
		"apikey", "accesskey", "secretkey", "privatekey", "subscriptionkey", "authkey", "sessionid", "authorization", "authentication",
	}
}

// headerEnds hold for the names of headers too.
func headerEnds() []string { return []string{"auth", "cookie"} }

// harmlessEnds are those of tokens that are a place in a list: the replay of what asks for the next page needs them.
var harmlessEnds = []string{"pagetoken", "nexttoken", "continuationtoken", "synctoken", "resumetoken"}

// endSet finds the rule of a name by its end. Most names have none, so a miss must be cheap: it takes the last two letters.
type endSet struct {
	ends  [32][]nameEnd // by the last letter
	pairs [32]uint32    // by the last letter, a bit for each one that stands before it
}

type nameEnd struct {
	text string
	rule *rule
}

func (s *endSet) add(end string, u *rule) {
	n := len(end)
	s.pairs[end[n-1]&31] |= 1 << (end[n-2] & 31)
	s.ends[end[n-1]&31] = append(s.ends[end[n-1]&31], nameEnd{end, u})
}

// may tells whether a name whose last two bytes these are can have an end.
func (s *endSet) may(a, b byte) bool { return s.pairs[b&31]>>(a&31)&1 != 0 || b <= '9' }

// findEnd gives the end of a name; nil where it has none. Digits behind it do not count: password2.
func findEnd[T string | []byte](s *endSet, name T) *nameEnd {
	n := len(name)
	for n > 0 && '0' <= name[n-1] && name[n-1] <= '9' {
		n--
	}
	if n < 2 || s.pairs[name[n-1]&31]&(1<<(name[n-2]&31)) == 0 {
		return nil
	}
	ends := s.ends[name[n-1]&31]
	for i := range ends {
		if endsIn(name[:n], ends[i].text) && !isHarmless(name[:n]) {
			return &ends[i]
		}
	}
	return nil
}

func isHarmless[T string | []byte](name T) bool {
	for _, end := range harmlessEnds {
		if endsIn(name, end) {
			return true
		}
	}
	return false
}

// endsIn compares without regard to case and to what is no letter or digit.
func endsIn[T string | []byte](name T, end string) bool {
	i, j := len(name)-1, len(end)-1
	for ; i >= 0 && j >= 0; i-- {
		switch c := name[i] | 0x20; {
		case c == end[j]:
			j--
		case 'a' <= c && c <= 'z' || '0' <= name[i] && name[i] <= '9' || name[i] >= 0x80:
			return false
		}
	}
	return j < 0
}
