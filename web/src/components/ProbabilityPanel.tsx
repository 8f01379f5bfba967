/** Questions about the price, answered by the server from the sampled paths. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { asFailure, type Failure, request } from "../api/client";
import type { ProbabilityResponse } from "../api/types";
import { percent } from "../formats";
import { language, t } from "../i18n";
import { dash, drawn, hue, quantile, selected, type ShownResult } from "../state/results";
import { formatTime, shownDigits } from "./ChartView";
import { NumberField, Select, Swatch } from "./controls";
import { FailureNote } from "./FailureNote";

const EVENTS = ["above", "below", "touch", "between"] as const;
type Event = (typeof EVENTS)[number];
type Field = "price" | "lower" | "step";
/** A pause after the last keystroke, so that half-typed prices are not asked about. */
const PAUSE_MS = 250;

interface Answer {
  result: ShownResult;
  answer: ProbabilityResponse;
}

export function ProbabilityPanel() {
  const result = selected.value;
  if (!result) return null;
  return <Questions key={result.id} result={result} />;
}

function rounded(value: number): number {
  return Number(value.toFixed(shownDigits()));
}

function Questions({ result }: { result: ShownResult }) {
  const { document } = result;
  const { forecast } = document;
  const event = useSignal<Event>("above");
  const price = useSignal(rounded(quantile(document, 0.75)?.at(-1) ?? forecast.last_close));
  const lower = useSignal(rounded(quantile(document, 0.25)?.at(-1) ?? forecast.last_close * 0.99));
  const step = useSignal(forecast.horizon);
  const answers = useSignal<Answer[]>([]);
  const failure = useSignal<Failure | null>(null);
  const invalid = useSignal<Partial<Record<Field, boolean>>>({});
  const validity = (field: Field) => (valid: boolean) => {
    invalid.value = { ...invalid.value, [field]: !valid };
  };
  const between = event.value === "between";
  const problem = questionProblem(invalid.value, between, price.value > lower.value);
  const asked = problem === null ? questionQuery(event.value, price.value, lower.value, step.value) : null;
  const ids = drawn.value.map((each) => each.id).join();
  useEffect(() => {
    if (asked === null) {
      answers.value = [];
      return;
    }
    const control = new AbortController();
    const timer = setTimeout(() => {
      ask(result, asked, control.signal).then(
        (found) => {
          answers.value = found;
          failure.value = null;
        },
        (error: unknown) => {
          if (!control.signal.aborted) failure.value = asFailure(error);
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [asked, ids]);
  const priceStep = 10 ** -shownDigits();
  const range = { min: priceStep, max: 1e12, step: "any" as const };
  return (
    <section class="card" aria-labelledby="probability-title" data-probability>
      <h2 id="probability-title">{t("probability.title")}</h2>
      <div class="fields question">
        <Select
          label={t("probability.event")}
          value={event.value}
          options={EVENTS.map((one) => [one, t(`probability.events.${one}`)] as const)}
          onChange={(value) => (event.value = EVENTS.find((one) => one === value)!)}
        />
        {between && (
          <NumberField
            label={t("probability.lower")}
            value={lower.value}
            {...range}
            onChange={(value) => value !== null && (lower.value = value)}
            onValidity={validity("lower")}
          />
        )}
        <NumberField
          label={t(between ? "probability.upper" : "probability.price")}
          value={price.value}
          {...range}
          onChange={(value) => value !== null && (price.value = value)}
          onValidity={validity("price")}
        />
        <NumberField
          label={`${t(event.value === "touch" ? "probability.step_touch" : "probability.step")} (1–${forecast.horizon})`}
          value={step.value}
          min={1}
          max={forecast.horizon}
          step={1}
          onChange={(value) => value !== null && (step.value = Math.round(value))}
          onValidity={validity("step")}
        />
      </div>
      {problem !== null && (
        <p class="note bad" role="status" data-problem={problem}>
          {t(`probability.problem.${problem}`, { horizon: forecast.horizon })}
        </p>
      )}
      {problem === null && failure.value && <FailureNote still failure={failure.value} />}
      <div role="status" class="answers">
        {problem === null &&
          !failure.value &&
          answers.value.map((each) => <AnswerLine key={each.result.id} {...each} several={answers.value.length > 1} />)}
      </div>
      <p class="field-hint">{t("probability.hint")}</p>
    </section>
  );
}

/** Why a question cannot be asked; null if it can. */
function questionProblem(
  invalid: Partial<Record<Field, boolean>>,
  between: boolean,
  ordered: boolean,
): "level" | "step" | "order" | null {
  if (invalid.price || (between && invalid.lower)) return "level";
  if (invalid.step) return "step";
  return between && !ordered ? "order" : null;
}

function questionQuery(event: Event, price: number, lower: number, step: number): string {
  const query = new URLSearchParams({
    event,
    price: String(event === "between" ? lower : price),
    step: String(step),
  });
  if (event === "between") query.set("upper", String(price));
  return query.toString();
}

/** Ask about the selected result and those drawn with it, as far as they reach the step. */
async function ask(result: ShownResult, query: string, signal: AbortSignal): Promise<Answer[]> {
  const others = drawn
    .peek()
    .filter((each) => each.id !== result.id && each.document.forecast.horizon >= result.document.forecast.horizon);
  return Promise.all(
    [result, ...others].map(async (each) => ({
      result: each,
      answer: await request<ProbabilityResponse>(`api/results/${encodeURIComponent(each.id)}/probability?${query}`, {
        signal,
      }),
    })),
  );
}

function AnswerLine({ result, answer, several }: Answer & { several: boolean }) {
  const share = (value: number): string => percent(value, 0, language.value);
  const time = result.document.view?.time[answer.step - 1];
  return (
    <p class="answer">
      {several && <Swatch colour={hue(result.slot)} dash={dash(result.slot)} />}
      <b class="answer-value" data-probability-value={answer.value}>
        {share(answer.value)}
      </b>
      <span>
        {t("probability.answer", {
          low: share(answer.low),
          high: share(answer.high),
          count: answer.count,
          paths: answer.paths,
        })}
        {time !== undefined && <span class="quiet"> · {formatTime(time)}</span>}
      </span>
    </p>
  );
}
