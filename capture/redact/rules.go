package redact

// Rules say what to redact beyond the defaults. The zero value is the defaults alone.
type Rules struct {
	NoDefaults   bool
	Headers      []Name
	Query        []Name
	Form         []Name
	JSON         []Path
	Patterns     []Pattern
	Keep         []string // headers that are left as they are
	KeyedDigests bool     // whether a response's digest becomes an HMAC
}

// Name is a header or a parameter.
type Name struct {
	Name string
	Keep Keep
	Drop bool // removed instead of replaced
}

// Path selects values in JSON.
type Path struct {
	Path string
	Keep Keep
}

// Pattern is a regular expression, and what of its match is redacted.
type Pattern struct {
	Match string // RE2
	In    []Part
	Group int // 0 is the whole match
	Keep  Keep
}

// Keep says what of a value its pseudonym keeps; empty is nothing.
type Keep string

// What a pseudonym can keep.
const (
	KeepLength Keep = "length" // in characters
	KeepClass  Keep = "class"  // of each character
)

// Part is what a Pattern is matched with.
type Part string

// The parts of a request.
const (
	InPath    Part = "path" // without the query
	InQuery   Part = "query"
	InHeaders Part = "headers" // each value
	InBody    Part = "body"
)

var allParts = []Part{InPath, InQuery, InHeaders, InBody}

// DefaultHeaders are the headers that are redacted by default.
func DefaultHeaders() []string {
	return []string{
		"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
		"Api-Key", "Api_Key", "Apikey", "X-Api-Key", "X-Apikey", "X-Api-Token", "X-Api-Secret", "X-Functions-Key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key",
		"X-Rapidapi-Key", "Dd-Api-Key", "Dd-Application-Key", "X-Honeycomb-Team",
		"Access-Token", "X-Access-Token", "X-Id-Token", "X-Refresh-Token", "X-Session-Token", "Auth-Token", "X-Auth-Token", "X-Auth-Key", "X-Authorization", "X-Original-Authorization",
		"X-Forwarded-Authorization", "X-Forwarded-Access-Token", "X-Auth-Request-Access-Token", "X-User-Token", "X-Subject-Token", "X-Service-Token", "X-Token", "Token",
		"X-Csrf-Token", "X-Csrftoken", "X-Xsrf-Token", "Csrf-Token",
		"X-Amz-Security-Token", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Accesstoken", "X-Goog-Iap-Jwt-Assertion", "Cf-Access-Jwt-Assertion", "Cf-Access-Client-Secret", "X-Ms-Token-Aad-Access-Token",
		"X-Vault-Token", "X-Consul-Token", "X-Gitlab-Token", "Private-Token", "Job-Token", "X-Shopify-Access-Token",
		"X-Hub-Signature", "X-Hub-Signature-256", "Dpop", "X-Secret", "X-Client-Secret", "X-Password",
		"X-Forwarded-Client-Cert", "X-Client-Cert", "Client-Cert", "X-Ssl-Client-Cert", "X-Jwt-Payload",
	}
}

// DefaultNames are the parameters and members of JSON that are redacted by default, as they are compared: without regard to
// case, "-" and "_".
func DefaultNames() []string {
	return []string{
		"access_token", "id_token", "refresh_token", "auth_token", "session_token", "oauth_token", "bearer_token", "csrf_token", "xsrf_token", "token", "jwt",
		"api_key", "x_api_key", "api_token", "api_secret", "private_key", "secret_key", "access_key", "subscription_key",
		"password", "passwd", "pwd", "passphrase", "new_password", "old_password", "current_password", "confirm_password", "password_confirmation", "user_password",
		"secret", "client_secret", "client_assertion", "assertion", "saml_response", "code_verifier", "authorization", "credentials", "otp", "totp",
		"pass", "cvv", "cvc", "cookie", "set_cookie",
		"session_id", "jsessionid", "phpsessid",
		"sig", "signature", "x_amz_signature", "x_amz_credential", "x_amz_security_token", "x_goog_signature", "x_goog_credential",
		"aws_secret_access_key", "aws_session_token",
	}
}

// urlHeaders hold a URL, or the path of one.
func urlHeaders() []string {
	return []string{"Referer", "Location", "Content-Location", "X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Forwarded-Url", "X-Envoy-Original-Path", "Destination", "Origin", ":path", ":authority", "Host"}
}
