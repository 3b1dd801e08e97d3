// The load of the bench: TARGET, for FOR, on VUS users; RATE requests a second, or as fast as they go where it is 0.
import http from 'k6/http';

const vus = Number(__ENV.VUS), rate = Number(__ENV.RATE);
const closed = { executor: 'constant-vus', vus: vus, duration: __ENV.FOR };
const open = { executor: 'constant-arrival-rate', rate: rate, timeUnit: '1s', duration: __ENV.FOR, preAllocatedVUs: vus, maxVUs: vus };

export const options = {
  scenarios: { load: rate > 0 ? open : closed },
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(75)', 'p(99)'],
};

export default function () {
  http.get(__ENV.TARGET);
}

export function handleSummary(data) {
  return { stdout: JSON.stringify(data.metrics) };
}
