// Package redact takes the secrets out of captured requests before anything of them is written. Each is replaced by a
// pseudonym, keyed by HMAC-SHA256: equal values stay equal within a capture, wherever they stand, and nobody can find or
// guess the value without the key.
//
// # By default
//
// Unless the rules say "defaults: off", these are redacted:
//
//   - the headers of [DefaultHeaders]. Authorization and Proxy-Authorization keep a scheme that is known, and Basic stays
//     base64 of name:password; Cookie and Set-Cookie keep the names, and Set-Cookie its standard attributes.
//   - the parameters of [DefaultNames] in queries, in the parameters of a path's segment (;jsessionid=…), in URLs within
//     headers (Referer and others), in forms, multipart ones too, and the members of that name in JSON, with all that is
//     below them but true, false and null. Names are compared without regard to case, "-" and "_", and percent-encoding and
//     JSON's escapes are decoded before; of user[password] and user.password it is the last part that counts. URLs and JSON
//     within a parameter, and JSON within a string of JSON, are looked into, four levels deep; what lies deeper is replaced
//     as a whole.
//   - headers, parameters and members whose names end in password, passwd, pwd, passphrase, secret, token, jwt, apikey,
//     accesskey, secretkey, privatekey, subscriptionkey, authkey, sessionid, authorization or authentication, and headers that
//     end in auth or cookie, compared as above and without digits behind: X-Plex-Token, db_password, password2. Those that
//     end in pageToken, nextToken, continuationToken, syncToken or resumeToken stay: they are places in a list, which a replay
//     needs. A header that is no secret is left with "keep".
//   - name: value and name = value in plain text, YAML and GraphQL, and in JSON's strings and parameters that hold such, or a
//     form or a URL. The value is what is in quotes, or else goes to the end of the line; in GraphQL only strings and numbers
//     are values.
//   - the user information of URLs (https://name:password@host).
//
// "key" and "code" are not among the names, as in most requests they are no secrets and the replay would break: name them
// where they are. Not looked into are XML, HTML, protobuf, gRPC, images and other media, files in a multipart form of these
// types, and encrypted or base64-encoded text other than Basic's; a pattern can be.
//
// # The rules
//
//	defaults: on                          # or off
//	headers: [X-Tenant, {name: X-Card, keep: class}, {name: X-Debug, drop: true}]
//	query: [email]
//	form: [email]                         # application/x-www-form-urlencoded and multipart/form-data
//	json: ['$.user.email', {path: '$..card', keep: class}]
//	patterns: [{match: '/users/([^/]+)', in: [path], group: 1}]
//	keep: [X-Api-Key]                     # headers that are left as they are
//	digests: keyed                        # or plain
//
// A pseudonym is 22 letters and digits and tells nothing of the value, not even its length. "keep: length" gives as many
// characters as the value has; "keep: class" a digit for a digit, a capital for a capital, a small letter for any other
// letter, and leaves ASCII's punctuation and spaces; where all of it is hexadecimal, as in a UUID, it stays so. The shorter
// a value is, the more of them share a pseudonym of its length, and one may even fall on itself. "drop: true" removes the header
// or the parameter.
//
// Where the session or the authority of a request is what a header's rule replaces, as the client's address in
// X-Forwarded-For is that of an access log, it gets the same pseudonym; a session also where it is a part of that value, of
// six characters or more, and an authority where the rule is not a default. A rule for Host is one for the authority.
//
// A path of JSON is a subset of RFC 9535: members (.name, ['name']), elements ([0]), all of either (.*, [*]), and
// descendants (..). Only the values are changed, the rest of a body stays byte for byte. What a path selects is redacted with
// all that is below it: strings become pseudonyms, numbers stay numbers of as many digits (an exponent goes), true and
// false become null. A body may hold several JSON texts one after the other.
//
// A pattern (RE2) sees paths, queries and forms percent-decoded, JSON with the escapes of strings decoded, and the values of
// headers. It comes last: a pseudonym that it matches gets one of its own, so name the place once. What it matches in JSON
// and is all digits keeps being a number.
//
// # Bodies
//
// Bodies in gzip, deflate and zstd are looked into; where something is redacted, the body is kept uncompressed and
// Content-Encoding removed, and with any change of a body the headers that hold a digest of it. A request is refused, and
// never written, where a rule would have to look into a body and cannot: of another encoding, broken, too large, of a
// malformed multipart, compressed without a Content-Encoding, text in UTF-16 or with NUL, or of malformed JSON where rules name paths in JSON. Where only names do, malformed JSON is searched
// as text for name: value and name = value instead, and replaced generously: an unquoted value to the end of its line. A body of an
// encoding that is not known passes where its type is one that is not looked into.
//
// A digest of a response's body is that of the body as captured: one who can guess the body can confirm it. "digests: keyed"
// makes an HMAC of it; digests of captures of the same key can then still be compared with each other, but not with a
// replay's.
//
// A second redaction with the same key is none: pseudonyms of pseudonyms differ from them. A mark to leave them alone would let
// anybody send secrets under it.
package redact
