package verdict

// Judge gives the verdicts on what was accumulated: Integrity, Delivery, Sampling, Impact, Objectives and Rate, in this order.
// It changes nothing that it was given and can be called again. Its error tells of facts or options that nothing can
// be judged by, all faults at once; a margin that CheckMargin refuses is ErrMargin.
func (r *Recon) Judge(f Facts, o Options) ([]Verdict, error) {
	if err := check(f, o); err != nil {
		return nil, err
	}
	f.Before = f.Experiment.without(f.Before)
	f.Undrained = f.Undrained || f.Experiment != nil && f.Experiment.Unsettled
	t := newTopology(f)
	delivered := newDelivery(t, r)
	intact := newIntegrity(t, r)
	sampled := &sampling{topology: t, within: o.Fraction, width: r.tickWidth()}
	blocks, looks := newExperiment(r, &f, o.Impact), newHarm(r, &f)
	affected := newEffect(t, r, o.Margins, blocks != nil)
	met := &objectives{asked: o.Objectives}
	told := &fates{topology: t, recon: r, sampled: o.Fraction != nil}
	for i := range r.rows {
		if looks.aside(&r.rows[i]) {
			looks.visit(&r.rows[i])
			continue
		}
		fate := told.of(&r.rows[i])
		intact.visit(fate)
		delivered.visit(fate)
		sampled.visit(fate)
		affected.visit(fate, int32(i))
		blocks.visit(fate, int32(i))
		met.visit(fate.row)
	}
	delivered.settle()
	effect := affected.verdict()
	switch {
	case blocks != nil:
		effect = blocks.verdict(effect)
	case o.Impact != nil && effect.State != Fail:
		effect.State, effect.Summary = Inconclusive, "the paired blocks that the scenario asks for were not played; "+effect.Summary
	}
	vs := []Verdict{intact.verdict(), delivered.verdict(), sampled.verdict(), effect, met.verdict()}
	if looks != nil {
		vs = append(vs, looks.verdict())
	}
	for i := range vs {
		vs[i].blame(f.Client)
	}
	if f.Partial || f.Incomplete {
		for i := range vs {
			vs[i].cutShort()
		}
	}
	return append(vs, JudgeRate(r.rate.Counts(), f)), nil
}
