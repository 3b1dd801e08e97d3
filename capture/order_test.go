package capture

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"umbra/capture/internal/exchange"
	"umbra/internal/traffic"
)

var epoch = time.Unix(1_700_000_000, 0)

// given gathers what an order gives, by path.
func given(limit int) (*order, *[]string) {
	var out []string
	return &order{limit: limit, loss: exchange.Loss{}, give: func(_ time.Time, r *traffic.Request) { out = append(out, r.Path) }}, &out
}

func begin(o *order, at int) *exchange.Exchange {
	e := o.Begin(epoch.Add(time.Duration(at)), "s")
	e.Request.Path = fmt.Sprint(at)
	return e
}

func TestOrder(t *testing.T) {
	o, out := given(1 << 20)
	a, b, c := begin(o, 1), begin(o, 3), begin(o, 2)
	o.Done(b)
	o.Done(c)
	if len(*out) != 0 {
		t.Fatalf("%v was given before the first had ended", *out)
	}
	o.Done(a)
	d, e := begin(o, 4), begin(o, 5)
	o.Done(e)
	o.Drop(d, exchange.RequestsCut)
	if want := []string{"1", "2", "3", "5"}; !slices.Equal(*out, want) {
		t.Errorf("gave %v, want %v", *out, want)
	}
	if o.loss[exchange.RequestsCut] != 1 || o.held != 0 || o.first != nil || o.last != nil {
		t.Errorf("loss %v, %d bytes held", o.loss, o.held)
	}
}

// TestOrderEvicts checks that the one that all wait for makes room: given where it is whole, dropped where it is not.
func TestOrderEvicts(t *testing.T) {
	o, out := given(4 * exchangeSize)
	whole := begin(o, 1)
	whole.Whole = true
	cut := begin(o, 2)
	done := begin(o, 3)
	o.Done(done)
	o.Grow(begin(o, 4), 1)
	if want := []string{"1"}; !slices.Equal(*out, want) || !whole.Gone {
		t.Fatalf("gave %v, want %v", *out, want)
	}
	o.Done(whole)
	begin(o, 5)
	if want := []string{"1", "3"}; !slices.Equal(*out, want) || !cut.Gone {
		t.Errorf("gave %v, want %v", *out, want)
	}
	o.Drop(cut, exchange.RequestsCut)
	o.Grow(cut, 1<<20)
	o.close()
	want := exchange.Loss{exchange.ResponsesNotAwaited: 1, exchange.NoMemory: 3}
	if fmt.Sprint(o.loss) != fmt.Sprint(want) || o.held != 0 {
		t.Errorf("loss %v, want %v; %d bytes held", o.loss, want, o.held)
	}
}

// TestOrderIsOrdered holds random lives of exchanges against sorting.
func TestOrderIsOrdered(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	o, out := given(1 << 30)
	var open []*exchange.Exchange
	var want []string
	for i := range 2000 {
		open = append(open, begin(o, 100_000+i-i%7*(i%2)))
		for len(open) > 0 && random.IntN(3) == 0 {
			k := random.IntN(len(open))
			o.Done(open[k])
			open = slices.Delete(open, k, k+1)
		}
	}
	for _, e := range open {
		o.Done(e)
	}
	want = slices.Clone(*out)
	if len(want) != 2000 || o.held != 0 {
		t.Fatalf("%d of 2000 were given, %d bytes held", len(want), o.held)
	}
	late := 0
	for i := 1; i < len(want); i++ {
		if want[i] < want[i-1] {
			late++
		}
	}
	if late > 300 { // only what began before what was given already
		t.Errorf("%d were given out of order", late)
	}
}

// TestOrderUsesAgain checks that exchanges are used again without anything of their last request, but not where somebody may
// still hold them, or where they are large.
func TestOrderUsesAgain(t *testing.T) {
	o, _ := given(1 << 20)
	used := begin(o, 1)
	used.Request.Headers = append(used.Request.Headers, traffic.Header{"a", "b"})
	used.Request.Body, used.Request.Response, used.Whole = []byte("x"), &used.Answer, true
	used.Answer.Status = 200
	o.Done(used)
	again := o.Begin(epoch, "t")
	if again != used || cap(again.Request.Headers) == 0 {
		t.Fatal("the exchange was not used again")
	}
	again.Request.Headers = nil
	want := exchange.Exchange{Start: epoch, Own: exchange.Own{Held: exchangeSize}, Request: traffic.Request{Session: "t"}}
	if !reflect.DeepEqual(*again, want) {
		t.Errorf("it is %+v", *again)
	}
	large := begin(o, 3)
	o.Grow(large, maxFreeSize)
	o.Done(again)
	o.Done(large)
	o.close()
	gone := begin(o, 4)
	o.close() // evicts it
	if !gone.Gone || slices.Contains(o.free, gone) || slices.Contains(o.free, large) {
		t.Errorf("%v is kept", o.free)
	}
}

// TestOrderKeepsFew checks the bound of what is kept to be used again.
func TestOrderKeepsFew(t *testing.T) {
	o, _ := given(1 << 30)
	var all []*exchange.Exchange
	for i := range 3 * maxFree {
		all = append(all, begin(o, i))
	}
	for _, e := range all {
		o.Done(e)
	}
	if len(o.free) != maxFree {
		t.Errorf("%d are kept", len(o.free))
	}
}
