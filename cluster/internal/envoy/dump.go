package envoy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The parts of a config dump that are read, as envoy.admin.v3.RoutesConfigDump and envoy.config.route.v3 have them.
type (
	configDump struct {
		Configs []struct {
			RouteConfig *routeConfig `json:"route_config"` // of a dump of one resource
			Dynamic     []struct {   // of a dump of everything
				RouteConfig *routeConfig `json:"route_config"`
			} `json:"dynamic_route_configs"`
		} `json:"configs"`
	}
	routeConfig struct {
		Name         string        `json:"name"`
		VirtualHosts []virtualHost `json:"virtual_hosts"`
	}
	virtualHost struct {
		Name       string     `json:"name"`
		Domains    []string   `json:"domains"`
		Routes     []*envoyed `json:"routes"`
		RequireTLS string     `json:"require_tls"`
	}
	// envoyed is a route of Envoy's: what istiod made of one match of an HTTPRoute.
	envoyed struct {
		Name     string          `json:"name"`
		Match    routeMatch      `json:"match"`
		Route    *action         `json:"route"`
		Redirect *redirect       `json:"redirect"`
		Response *directResponse `json:"direct_response"`
		Metadata struct {
			Filter struct {
				Istio struct {
					Config string `json:"config"` // of the VirtualService: /apis/GROUP/VERSION/namespaces/NAMESPACE/virtual-service/NAME
				} `json:"istio"`
			} `json:"filter_metadata"`
		} `json:"metadata"`
		PerFilter struct {
			Fault *fault `json:"envoy.filters.http.fault"`
		} `json:"typed_per_filter_config"`
		headerOps
	}
	action struct {
		Cluster  string `json:"cluster"`
		Weighted *struct {
			Clusters []weighted `json:"clusters"`
		} `json:"weighted_clusters"`
		Timeout       duration `json:"timeout"`
		PrefixRewrite string   `json:"prefix_rewrite"`
		RegexRewrite  *struct {
			Pattern      regexMatch `json:"pattern"`
			Substitution string     `json:"substitution"`
		} `json:"regex_rewrite"`
		HostRewrite string `json:"host_rewrite_literal"`
		Retry       *struct {
			On            string   `json:"retry_on"`
			Retries       *uint32  `json:"num_retries"` // 1 where it is absent
			PerTryTimeout duration `json:"per_try_timeout"`
			Statuses      []int    `json:"retriable_status_codes"`
			Backoff       struct {
				Base duration `json:"base_interval"`
			} `json:"retry_back_off"`
		} `json:"retry_policy"`
		Mirrors []mirrorPolicy `json:"request_mirror_policies"`
	}
	weighted struct {
		Name        string `json:"name"`
		Weight      uint32 `json:"weight"`
		HostRewrite string `json:"host_rewrite_literal"`
		headerOps
	}
	mirrorPolicy struct {
		Cluster  string `json:"cluster"`
		Fraction *struct {
			Default fraction `json:"default_value"`
		} `json:"runtime_fraction"` // all requests where it is absent
	}
	fraction struct {
		Numerator   uint32 `json:"numerator"`
		Denominator string `json:"denominator"`
	}
	redirect struct {
		Scheme string  `json:"scheme_redirect"`
		HTTPS  bool    `json:"https_redirect"`
		Host   string  `json:"host_redirect"`
		Port   uint32  `json:"port_redirect"`
		Path   string  `json:"path_redirect"`
		Prefix string  `json:"prefix_rewrite"`
		Code   codeTag `json:"response_code"`
	}
	directResponse struct {
		Status int `json:"status"`
		Body   struct {
			String string `json:"inline_string"`
			Bytes  []byte `json:"inline_bytes"`
		} `json:"body"`
	}
	fault struct {
		Delay struct {
			Fixed      duration `json:"fixed_delay"`
			Percentage fraction `json:"percentage"`
		} `json:"delay"`
		Abort struct {
			Status     int      `json:"http_status"`
			Percentage fraction `json:"percentage"`
		} `json:"abort"`
	}
	headerOps struct {
		RequestAdd     []headerOption `json:"request_headers_to_add"`
		RequestRemove  []string       `json:"request_headers_to_remove"`
		ResponseAdd    []headerOption `json:"response_headers_to_add"`
		ResponseRemove []string       `json:"response_headers_to_remove"`
	}
	headerOption struct {
		Header struct {
			Key   string `json:"key"`
			Value string `json:"value"`
		} `json:"header"`
		Action string `json:"append_action"`
	}
)

// parseDump reads the route configurations of a dump, be it of all or of dynamic_route_configs.
func parseDump(dump []byte) ([]*routeConfig, error) {
	var in configDump
	if err := json.Unmarshal(dump, &in); err != nil {
		return nil, fmt.Errorf("reading the config dump of the gateway's Envoy: %w", err)
	}
	var out []*routeConfig
	for _, c := range in.Configs {
		if c.RouteConfig != nil {
			out = append(out, c.RouteConfig)
		}
		for _, d := range c.Dynamic {
			if d.RouteConfig != nil {
				out = append(out, d.RouteConfig)
			}
		}
	}
	for _, c := range out {
		for i := range c.VirtualHosts {
			v := &c.VirtualHosts[i]
			v.Routes = slices.DeleteFunc(v.Routes, func(e *envoyed) bool { return e == nil })
		}
	}
	return out, nil
}

// port gives the port number of the Gateway server that a virtual host is of. It ends the virtual host's name; that of
// a plain route configuration ("http.8080") is the pod's, which the gateway's Service may map to another
// (gatewayRDSRouteName in pilot/pkg/model/gateway.go).
func (v *virtualHost) port() (uint32, bool) {
	n, err := strconv.ParseUint(v.Name[strings.LastIndexByte(v.Name, ':')+1:], 10, 16)
	return uint32(n), err == nil
}

// scheme gives the scheme of the requests that a route configuration takes.
func (c *routeConfig) scheme() string {
	if strings.HasPrefix(c.Name, "https.") {
		return "https"
	}
	return "http"
}

// owner gives the VirtualService of a route as "namespace/name"; it is empty for routes that come from elsewhere.
func (e *envoyed) owner() string {
	_, rest, _ := strings.Cut(e.Metadata.Filter.Istio.Config, "/namespaces/")
	namespace, name, ok := strings.Cut(rest, "/virtual-service/")
	if !ok {
		return ""
	}
	return namespace + "/" + name
}

// perMillion gives a fraction per million. Its denominator is a hundred where none is given.
func (f fraction) perMillion() uint32 {
	const million = 1_000_000
	factor := uint64(million / 100)
	switch f.Denominator {
	case "TEN_THOUSAND":
		factor = million / 10_000
	case "MILLION":
		factor = 1
	}
	return uint32(min(uint64(f.Numerator)*factor, million))
}

func (p *mirrorPolicy) perMillion() uint32 {
	if p.Fraction == nil {
		return fraction{Numerator: 100}.perMillion()
	}
	return p.Fraction.Default.perMillion()
}

// duration is a google.protobuf.Duration: seconds with up to nine decimals and an "s". given is false where it is absent.
type duration struct {
	time.Duration
	given bool
}

func (d *duration) UnmarshalJSON(in []byte) (err error) {
	var text string
	if err = json.Unmarshal(in, &text); err != nil {
		return err
	}
	d.Duration, err = time.ParseDuration(text)
	d.given = true
	return err
}

// codeTag is envoy.config.route.v3.RedirectAction.RedirectResponseCode.
type codeTag string

var redirectCodes = map[codeTag]int{"": 301, "MOVED_PERMANENTLY": 301, "FOUND": 302, "SEE_OTHER": 303, "TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308}

// regexMatch is envoy.type.matcher.v3.RegexMatcher: an RE2 expression that has to match all of a string.
type regexMatch struct {
	Regex string `json:"regex"`
	full  *regexp.Regexp
}

// UnmarshalJSON compiles the expression. One that package regexp does not take (RE2 has \C besides) matches nothing.
func (r *regexMatch) UnmarshalJSON(in []byte) error {
	type plain regexMatch
	if err := json.Unmarshal(in, (*plain)(r)); err != nil {
		return err
	}
	r.full, _ = regexp.Compile(`\A(?:` + r.Regex + `)\z`)
	return nil
}

func (r *regexMatch) match(s string) bool { return r.full != nil && r.full.MatchString(s) }
