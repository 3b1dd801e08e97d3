package redact

import (
	"testing"

	"umbra/internal/traffic"
)

func TestHeaderEnds(t *testing.T) {
	secret := []string{"X-Algolia-API-Key", "X-N8N-API-KEY", "X-CMC_PRO_API_KEY", "X-Plex-Token", "X-Session-Id", "Id-Token", "Refresh-Token", "X-Jwt", "X-Figma-Token",
		"X-Access-Key", "X-Auth", "Authentication", "X-Db-Password", "X-App-Secret-Key"}
	harmless := []string{"Host", "Accept", "User-Agent", "Connection", "X-Request-Id", "Idempotency-Key", "Sec-WebSocket-Key", "X-Ms-Continuation-Token", "Next-Page-Token", "X-Tokens",
		"Access-Control-Allow-Credentials", "Www-Authenticate", "Token-Count", "Oken", "-"}
	for _, name := range secret {
		t.Run(name, func(t *testing.T) {
			if got, want := headerAfter(t, "", name, "abc"), expand("«abc»"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got := headerAfter(t, "keep: ["+name+"]", name, "abc"); got != "abc" {
				t.Errorf("kept: got %s", got)
			}
			if got := headerAfter(t, "defaults: off", name, "abc"); got != "abc" {
				t.Errorf("defaults off: got %s", got)
			}
		})
	}
	for _, name := range harmless {
		t.Run(name, func(t *testing.T) {
			if got := headerAfter(t, "", name, "abc"); got != "abc" {
				t.Errorf("got %s", got)
			}
		})
	}
	if got, want := headerAfter(t, "", "Grpc-Metadata-Authorization", "Bearer abc"), expand("Bearer «abc»"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := headerAfter(t, "", "X-Original-Cookie", "a=abc"), expand("a=«abc»"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func headerAfter(t *testing.T, rules, name, value string) string {
	t.Helper()
	q := traffic.Request{Path: "/", Headers: []traffic.Header{{name, value}}}
	if err := redactor(t, rules).Request(&q); err != nil {
		t.Fatal(err)
	}
	return q.Headers[0][1]
}

func TestNameEnds(t *testing.T) {
	tests := []struct {
		name   string
		secret bool
	}{
		{"db_password", true}, {"encrypted_password", true}, {"login_password", true}, {"stripe_secret_key", true}, {"accessTokenSecret", true}, {"pass", true}, {"cvv", true},
		{"Cookie", true}, {"Set-Cookie", true}, {"password1", true}, {"new_password2", true}, {"device.pushToken", true}, {"user[db_password][]", true}, {"algoliaApiKey", true}, {"my_jwt", true},
		{"pageToken", false}, {"nextPageToken", false}, {"next_page_token", false}, {"continuationToken", false}, {"syncToken", false}, {"nextSyncToken", false}, {"resumeToken", false}, {"NextToken", false},
		{"compass", false}, {"max_tokens", false}, {"tokens", false}, {"secretary", false}, {"key", false}, {"code", false}, {"2", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := "abc"
			if tt.secret {
				want = expand("«abc»")
			}
			q := traffic.Request{Path: "/?" + tt.name + "=abc", Headers: []traffic.Header{{"Content-Type", jsonType}}, Body: []byte(`{"` + tt.name + `":"abc"}`)}
			if err := redactor(t, "").Request(&q); err != nil {
				t.Fatal(err)
			}
			if q.Path != "/?"+tt.name+"="+want || string(q.Body) != `{"`+tt.name+`":"`+want+`"}` {
				t.Errorf("got %s and %s", q.Path, q.Body)
			}
		})
	}
}

func TestText(t *testing.T) {
	tests := []struct{ name, contentType, body, want string }{
		{"GraphQL in JSON", jsonType, `{"query":"mutation { login(password: \"S\") { id } }"}`, `{"query":"mutation { login(password: \"«S»\") { id } }"}`},
		{"GraphQL with variables", jsonType, `{"query":"mutation L($password: String!) { login(password: $password, pin: 1) { token } }"}`, `{"query":"mutation L($password: String!) { login(password: $password, pin: 1) { token } }"}`},
		{"GraphQL, short", jsonType, `{"query":"{ me(token: $t) { id } }"}`, `{"query":"{ me(token: $t) { id } }"}`},
		{"GraphQL with a number", jsonType, `{"query":"{ me(cvv: 123) { id } }"}`, `{"query":"{ me(cvv: «123») { id } }"}`},
		{"GraphQL list", jsonType, `{"query":"{ me(token: [\"S\"], a: [1]) { id } }"}`, `{"query":"{ me(token: [\"«S»\"], a: [1]) { id } }"}`},
		{"user information in JSON", jsonType, `{"u":"https://ann:S@x/"}`, `{"u":"https://«ann»:«S»@x/"}`},
		{"GraphQL block", "application/graphql", "mutation { login(password: \"\"\"S\"\"\") { id } }", "mutation { login(password: \"\"\"«S»\"\"\") { id } }"},
		{"application/graphql", "application/graphql", `mutation { login(password: "S") { id } }`, `mutation { login(password: "«S»") { id } }`},
		{"text", "text/plain", "user: bob\npassword: S\r\nid: 2", "user: bob\npassword: «S»\r\nid: 2"},
		{"text with a space", "text/plain", `password = "S"`, `password = "«S»"`},
		{"YAML", "application/yaml", "user:\n  db_password: 'S'\n", "user:\n  db_password: '«S»'\n"},
		{"YAML block", "application/yaml", "password: |\n  S\n  T\nid: 2", "password: «|\n  S\n  T»\nid: 2"},
		{"text and form", "text/plain", "a=b\npassword: S", "a=b\npassword: «S»"},
		{"form in JSON", jsonType, `{"body":"user=bob&password=S&b=1"}`, `{"body":"user=bob&password=«S»&b=1"}`},
		{"form in JSON, escaped", jsonType, `{"body":"user\u003dbob&password\u003dS"}`, `{"body":"user=bob&password=«S»"}`},
		{"URL in JSON", jsonType, `{"u":"https://x/?a=1&token=S&b=1"}`, `{"u":"https://x/?a=1&token=«S»&b=1"}`},
		{"harmless", jsonType, `{"t":"12:30","u":"https://x/?a=b","v":"a :: b == c"}`, `{"t":"12:30","u":"https://x/?a=b","v":"a :: b == c"}`},
		{"text in a form", formType, "note=" + "password%3A+S", "note=password%3A+«S»"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := traffic.Request{Path: "/", Headers: []traffic.Header{{"Content-Type", tt.contentType}}, Body: []byte(tt.body)}
			if err := redactor(t, "").Request(&q); err != nil {
				t.Fatal(err)
			}
			if want := expand(tt.want); string(q.Body) != want {
				t.Errorf("got  %s\nwant %s", q.Body, want)
			}
		})
	}
}

func TestGraphQLInQuery(t *testing.T) {
	tests := []struct{ path, want string }{
		{"/?query=mutation%7Blogin(password:%22S%22)%7Bid%7D%7D", "/?query=mutation%7Blogin%28password%3A%22«S»%22%29%7Bid%7D%7D"},
		{`/?query=mutation{login(password:"S"){id}}`, `/?query=mutation%7Blogin%28password%3A%22«S»%22%29%7Bid%7D%7D`},
		{"/?query={me(token:$t){id}}", "/?query={me(token:$t){id}}"},
		{"/?at=12:30", "/?at=12:30"},
	}
	for _, tt := range tests {
		q := traffic.Request{Path: tt.path}
		if err := redactor(t, "").Request(&q); err != nil {
			t.Fatal(err)
		}
		if want := expand(tt.want); q.Path != want {
			t.Errorf("got  %s\nwant %s", q.Path, want)
		}
	}
}

// What a header rule replaces stays in no other field of the request.
func TestSessionAndAuthority(t *testing.T) {
	tests := []struct{ name, rules, header, value, session, authority, wantSession, wantAuthority string }{
		{"session equals", "headers: [X-Forwarded-For]", "X-Forwarded-For", "192.0.2.1", "192.0.2.1", "x", "«192.0.2.1»", "x"},
		{"session is a part", "headers: [X-Forwarded-For]", "X-Forwarded-For", "192.0.2.1, 10.0.0.1", "192.0.2.1", "x", "«192.0.2.1»", "x"},
		{"session of a cookie", "", "Cookie", "a=b; sid=s3cret", "s3cret", "x", "«s3cret»", "x"},
		{"session of a dropped header", "headers: [{name: X-Client, drop: true}]", "X-Client", "192.0.2.1", "192.0.2.1", "x", "«192.0.2.1»", "x"},
		{"session of another header", "headers: [X-A]", "X-A", "192.0.2.11", "192.0.2.1", "x", "192.0.2.1", "x"},
		{"short session by chance", "", "Cookie", "a=1; b=2", "1", "x", "1", "x"},
		{"host", "headers: [Host]", "Host", "shop.example", "", "shop.example", "", "«shop.example»"},
		{"host that is authority alone", "headers: [host]", "A", "b", "", "shop.example", "", "«shop.example»"},
		{"host of a class", "headers: [{name: Host, keep: class}]", "Host", "shop.example", "", "shop.example", "", "«class:shop.example»"},
		{"authority elsewhere", "headers: [X-Forwarded-Host]", "X-Forwarded-Host", "shop.example", "", "shop.example", "", "«shop.example»"},
		{"no rule", "", "X-Forwarded-For", "192.0.2.1", "192.0.2.1", "shop.example", "192.0.2.1", "shop.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := traffic.Request{Path: "/", Session: tt.session, Authority: tt.authority, Headers: []traffic.Header{{tt.header, tt.value}}}
			if err := redactor(t, tt.rules).Request(&q); err != nil {
				t.Fatal(err)
			}
			if q.Session != expand(tt.wantSession) || q.Authority != expand(tt.wantAuthority) {
				t.Errorf("got session %s and authority %s", q.Session, q.Authority)
			}
		})
	}
}
