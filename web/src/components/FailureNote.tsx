/** What failed, in the words of the server or of the page. */

import { useEffect, useRef } from "preact/hooks";

import type { Failure } from "../api/client";
import { bytes, LOCALES } from "../formats";
import { language, type ServerMessage, t, term, translated, withFieldNames } from "../i18n";
import { UPLOAD_BYTES } from "../state/data";

interface FailureNoteProps {
  failure: Failure;
  /** Leaves the focus where it is: the failure comes while something is typed. */
  still?: boolean;
  onRetry?: () => void;
  onDismiss?: () => void;
}

/** What failed and what to do, with a way to try again. Comes into view, and takes the focus unless it asks. */
export function FailureNote(props: FailureNoteProps) {
  const { failure, still } = props;
  const note = useRef<HTMLDivElement>(null);
  // The server asks which of several readings is right: that is a question, not a fault.
  const asks = failure.options.length > 0;
  useEffect(() => {
    note.current?.scrollIntoView({ block: "nearest" });
    if (!still && !asks) note.current?.focus({ preventScroll: true });
  }, [failure]);
  return (
    <div class={`note ${asks ? "notice" : "bad"}`} role="alert" data-status={failure.status} ref={note} tabIndex={-1}>
      <p class="note-title">
        {asks ? t("data.question") : failure.status > 0 ? term("errors", String(failure.status)) : t("errors.title")}
      </p>
      <FailureText failure={failure} />
      {failure.retryAfter !== null && <p>{t("errors.wait", { seconds: failure.retryAfter })}</p>}
      {(props.onRetry || props.onDismiss) && (
        <p class="row">
          {props.onRetry && (
            <button type="button" class="button" onClick={props.onRetry}>
              {t("errors.retry")}
            </button>
          )}
          {props.onDismiss && (
            <button type="button" class="button" onClick={props.onDismiss}>
              {t("errors.dismiss")}
            </button>
          )}
        </p>
      )}
    </div>
  );
}

function FailureText({ failure }: { failure: Failure }) {
  const own = ownText(failure);
  return own === null ? <ServerText said={{ message: failure.message, ...failure.details }} /> : <p>{own}</p>;
}

/** What the page itself knows about a failure. */
function ownText(failure: Failure): string | null {
  if (failure.status === 0) return t("errors.network");
  const limit = bytes(UPLOAD_BYTES, language.value);
  if (failure.title === "too_large") return t("errors.too_large", { name: failure.message, size: `> ${limit}`, limit });
  if (failure.title === "result_gone") return t("errors.result_gone");
  if (failure.title === "job_lost") return t("errors.job_lost");
  return failure.status > 0 ? null : failure.message;
}

/** A sentence of the server; marked as English where the page speaks another language and has no words for it. */
export function ServerText({ said }: { said: ServerMessage }) {
  const text = translated(said);
  // Always given: taken away, the attribute would stay empty, which means an unknown language.
  return <p lang={text === null ? "en" : LOCALES[language.value]}>{text ?? withFieldNames(said.message)}</p>;
}
