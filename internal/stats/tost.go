package stats

// TOST is the p-value of two one-sided t tests of "the true mean is outside (low, high)" against "inside": the
// greater of both tests'. At or below alpha just where the t interval at 1 − 2·alpha lies inside. It is 1 where N is
// below 2.
//
// Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987), 657–680.
func TOST(m Mean, low, high float64) float64 { return max(m.Above(low), m.Below(high)) }
