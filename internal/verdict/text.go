package verdict

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// count writes a whole number with thousands parted by commas.
func count[N int | uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, digit := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// number writes a figure with four significant digits and without trailing zeros.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e9 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// signed writes a change with its sign and one decimal.
func signed(v float64) string { return fmt.Sprintf("%+.1f", v) }

// ms writes a duration in milliseconds, three significant digits at least.
func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f ms", v)
	case v >= 10:
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.2f ms", v)
}

// Digits writes four significant ones without trailing zeros, and without an exponent.
func Digits(v float64) string {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}

// QuantileName is p99, p99.9.
func QuantileName(percent float64) string { return "p" + strconv.FormatFloat(percent, 'f', -1, 64) }

// ShortCluster is a cluster without the parts that are the same everywhere: outbound|80|v2|my-app.shop.svc.cluster.local
// is my-app.shop:80/v2.
func ShortCluster(full string) string {
	parts := strings.Split(full, "|")
	if len(parts) != 4 {
		return full
	}
	name := strings.TrimSuffix(parts[3], ".svc.cluster.local") + ":" + parts[1]
	if parts[2] != "" {
		name += "/" + parts[2]
	}
	return name
}

// join links the parts that are not empty.
func join(parts []string, by string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, by)
}

// plural is "1 thing" or "2 things".
func plural[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return count(n) + " " + one
	}
	return count(n) + " " + many
}
